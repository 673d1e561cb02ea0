/**
 * Adds up the reports of a run of tests: `total.ts DIRECTORY STATUS` prints what failed, and `N passed, N failed`. A test that
 * did not run is no passed test, and a run that ended with a status other than 0 has failed, whatever its tests say.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

interface Report {
  readonly numPassedTests: number;
  readonly numTotalTests: number;
  readonly testResults: readonly {
    readonly name: string;
    /** Why the file itself could not be run, or nothing. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

const directory = process.argv[2] ?? "";
const reports = readdirSync(directory).map(
  (file) => JSON.parse(readFileSync(join(directory, file), "utf8")) as Report,
);
for (const { name, message, assertionResults } of reports.flatMap(({ testResults }) => testResults)) {
  const file = relative(process.cwd(), name);
  if (message !== "") process.stdout.write(`failed: ${file}: ${message}\n`);
  for (const { fullName, failureMessages = [] } of assertionResults)
    for (const reason of failureMessages)
      process.stdout.write(`failed: ${file} > ${fullName}: ${reason.split("\n    at ")[0]}\n`);
}
const passed = reports.reduce((sum, { numPassedTests }) => sum + numPassedTests, 0);
const total = reports.reduce((sum, { numTotalTests }) => sum + numTotalTests, 0);
const failed = Math.max(total - passed, process.argv[3] === "0" ? 0 : 1);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
