/**
 * Adds up the reports of a run of tests: `total.ts DIRECTORY STATUS` prints `N passed, N failed`. A test that did not run is
 * no passed test, and a run that ended with a status other than 0 has failed, whatever its tests say.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Report {
  readonly numPassedTests: number;
  readonly numTotalTests: number;
}

const directory = process.argv[2] ?? "";
const reports = readdirSync(directory).map(
  (file) => JSON.parse(readFileSync(join(directory, file), "utf8")) as Report,
);
const passed = reports.reduce((sum, { numPassedTests }) => sum + numPassedTests, 0);
const total = reports.reduce((sum, { numTotalTests }) => sum + numTotalTests, 0);
const failed = Math.max(total - passed, process.argv[3] === "0" ? 0 : 1);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
