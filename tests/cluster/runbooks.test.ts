/** What runbooks tell people to type. Those of logs and traces are in logs.test.ts. */
import { expect, test } from "vitest";
import { askQuery, queriesOf, remediesOf, runbooksOf, typeRemedy, typeRunbook } from "./typed.ts";

const runbooks = runbooksOf((file) => file !== "logging.yaml");

test("there is a runbook for every alert", () => {
  expect(runbooks.length).toBeGreaterThan(30);
});

test.each(runbooks)("how to see %s can be typed as it stands", typeRunbook);

test.each(remediesOf(runbooks))("what is to be done can be typed: %s", typeRemedy);

test.each(queriesOf(runbooks))("what Prometheus is asked has metrics that there are: %s", askQuery);
