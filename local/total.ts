/** Adds up the reports of a run of tests: `N passed, N failed`. A test that did not run is no passed test. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Report {
  readonly numPassedTests: number;
  readonly numTotalTests: number;
  readonly numFailedTestSuites: number;
}

const directory = process.argv[2] ?? "";
const reports = readdirSync(directory).map(
  (file) => JSON.parse(readFileSync(join(directory, file), "utf8")) as Report,
);
const passed = reports.reduce((sum, { numPassedTests }) => sum + numPassedTests, 0);
const total = reports.reduce((sum, { numTotalTests }) => sum + numTotalTests, 0);
process.stdout.write(`${passed} passed, ${total - passed} failed\n`);
