/** `make scan`: wapiti and sqlmap against every operation of the API, through the edge of the running dev stack. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { edgeUrl } from "../devSettings.ts";
import { edgeCa } from "../identity.ts";
import { pythonTool } from "../pythonTool.ts";
import { cacheDirectory, readIfPresent, say, UserError } from "../system.ts";
import { developmentToken } from "../token.ts";
import { judgeSqlmap, judgeWapiti, type Judged } from "./reports.ts";
import { openWay, type Way } from "./way.ts";

const tools = {
  wapiti: { name: "wapiti3", version: "3.2.3", purpose: "scanning the API", seconds: 60 },
  sqlmap: { name: "sqlmap", version: "1.10.10", purpose: "looking for SQL injections", seconds: 20 },
} as const;
const wapitiProgram =
  "import sys; from wapitiCore.main.wapiti import wapiti_asyncio_wrapper as w; sys.exit(w())";
const sqlmapProgram = "import sys; sys.argv[0] = 'sqlmap'; from sqlmap.sqlmap import main; sys.exit(main())";
/** Whoever looks: each role, of a tenant of its own, and nobody. */
const visitors = ["admin", "editor", "viewer", "stranger"] as const;
const limitSeconds = 1800;

/**
 * Exit status 1 when something high was found, or a scanner did not get to its end. The reports stay in the cache.
 * @param only - one of the visitors; empty: all, one after the other.
 */
export async function scan(only = ""): Promise<number> {
  if (only !== "" && !visitors.some((visitor) => visitor === only))
    throw new UserError(
      `ROLE is "${only}" and may be ${visitors.join(", ")}, or none for all: make scan ROLE=admin`,
    );
  const ca = await edgeCa();
  const [wapiti, sqlmap] = [await pythonTool(tools.wapiti), await pythonTool(tools.sqlmap)];
  let found = 0;
  for (const visitor of visitors.filter((name) => only === "" || name === only)) {
    const reports = join(cacheDirectory(), "scans", visitor);
    await mkdir(reports, { recursive: true });
    const tokenOf = () => developmentToken(visitor, "scan");
    const way = await openWay(new URL(await edgeUrl()), ca, visitor === "stranger" ? undefined : tokenOf);
    try {
      const specification = await specificationFor(way, reports);
      say(`scan: wapiti, as ${visitor} (about 1 min)`);
      found += tell(await runWapiti(wapiti, way, specification, reports), way);
      say(`scan: sqlmap, as ${visitor} (up to a quarter of an hour)`);
      found += tell(await runSqlmap(sqlmap, specification, reports), way);
    } finally {
      way.close();
    }
    say(`scan: reports of ${visitor} in ${reports}`);
  }
  say(found === 0 ? "scan: nothing high was found." : `scan: ${found} high findings.`);
  return found === 0 ? 0 : 1;
}

/** The API's own description, with the way as its server. */
async function specificationFor(way: Way, reports: string): Promise<string> {
  const answer = await fetch(`${way.url}/api/openapi.json`);
  if (!answer.ok)
    throw new UserError(`The API's description could not be read: ${answer.status}. Is the stack up?`);
  const file = join(reports, "openapi.json");
  const described = (await answer.json()) as object;
  await writeFile(file, JSON.stringify({ ...described, servers: [{ url: way.url }] }));
  return file;
}

async function runWapiti(
  python: string,
  { url }: Way,
  specification: string,
  reports: string,
): Promise<Judged> {
  const report = join(reports, "wapiti.json");
  const scope = ["--url", `${url}/`, "--swagger", specification, "--scope", "folder", "--flush-session"];
  const limits = ["--max-scan-time", String(limitSeconds), "--max-attack-time", "120", "--no-bugreport"];
  const output = ["--format", "json", "--output", report, "--store-session", join(reports, "session")];
  await run(python, [wapitiProgram, ...scope, ...limits, ...output], join(reports, "wapiti.log"));
  return judgeWapiti(await readFile(report, "utf8"));
}

async function runSqlmap(python: string, specification: string, reports: string): Promise<Judged> {
  const [results, log] = [join(reports, "sqlmap.csv"), join(reports, "sqlmap.log")];
  const target = ["--openapi", specification, "--dbms", "PostgreSQL", "--technique", "BEUS"];
  const output = [
    "--batch",
    "--flush-session",
    "--disable-coloring",
    "--output-dir",
    join(reports, "sqlmap"),
  ];
  await run(python, [sqlmapProgram, ...target, ...output, "--results-file", results], log);
  return judgeSqlmap((await readIfPresent(results)) ?? "", await readFile(log, "utf8"));
}

/** Runs it to its end, its words in `log`. @throws when it fails, or takes longer than any run of it did. */
async function run(
  python: string,
  [program = "", ...options]: readonly string[],
  log: string,
): Promise<void> {
  const child = spawn(python, ["-c", program, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: limitSeconds * 1000,
  });
  const said = createWriteStream(log);
  child.stdout.pipe(said, { end: false });
  child.stderr.pipe(said, { end: false });
  const [code] = (await once(child, "close")) as [number | null];
  said.end();
  await once(said, "close");
  if (code !== 0) throw new UserError(`The scanner did not get to its end (${code ?? "ended"}): see ${log}`);
}

/** Prints what was found, and gives how much of it is high; a request that the service failed at is. */
function tell({ high, lower, tried }: Judged, { answers, failures }: Way): number {
  const counts = Object.entries(answers).map(([status, count]) => `${status}: ${count}`);
  say(`scan: ${tried} targets; answers by status since the start: ${counts.join(", ")}`);
  if (tried === 0) throw new UserError("The scanner tried nothing: its log says why.");
  for (const line of lower) say(`  ${line}`);
  const all = [...high, ...failures.map((failure) => `the service failed: ${failure}`)];
  for (const line of all) say(`  HIGH ${line}`);
  return all.length;
}
