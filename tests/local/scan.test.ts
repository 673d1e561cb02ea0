import { expect, test } from "vitest";
import { judgeSqlmap, judgeWapiti } from "../../local/scan/reports.ts";

const finding = (level: number) => ({
  method: "GET",
  path: "/api/v1/documents",
  info: "SQL Injection (DBMS: PostgreSQL) via injection in the parameter q",
  level,
  parameter: "q",
  module: "sql",
});
const report = (found: object) =>
  JSON.stringify({
    vulnerabilities: { "SQL Injection": [], "Clickjacking Protection": [] },
    anomalies: { "Internal Server Error": [] },
    infos: { crawled_pages_nbr: 38, version: "Wapiti 3.2.3" },
    ...found,
  });

test("a clean report of wapiti has no finding, and says how much was tried", () => {
  expect(judgeWapiti(report({}))).toEqual({ high: [], lower: [], tried: 38 });
});

test("what wapiti found is high from its third level on, and so is a server error", () => {
  const { high, lower } = judgeWapiti(
    report({
      vulnerabilities: { "SQL Injection": [finding(4)], "Clickjacking Protection": [finding(1)] },
      anomalies: { "Internal Server Error": [finding(3)], "Resource consumption": [finding(1)] },
    }),
  );
  expect(high).toHaveLength(2);
  expect(high[0]).toMatch(/^wapiti: SQL Injection: GET \/api\/v1\/documents \(q\): /);
  expect(high[1]).toMatch(/^wapiti: Internal Server Error: /);
  expect(lower).toHaveLength(1);
});

test("what is no report of wapiti is no pass", () => {
  expect(() => judgeWapiti("{}")).toThrow();
});

test("each row of sqlmap's table is a finding", () => {
  const header = "Target URL,Place,Parameter,Technique(s),Note(s)\n";
  const log = "[INFO] testing if the target URL content is stable\n".repeat(3);
  expect(judgeSqlmap(header, log)).toEqual({ high: [], lower: [], tried: 3 });
  expect(judgeSqlmap(`${header}http://127.0.0.1/api?q=1,GET,q,BE,\n`, log).high).toEqual([
    "sqlmap: SQL injection: http://127.0.0.1/api?q=1,GET,q,BE,",
  ]);
});
