/** The node's own small process: gives claims their volumes, enforces network policies, and keeps the parts' logs within bounds. */
import { copyFile, readdir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "./api.ts";
import { message } from "../system.ts";
import { inCluster } from "./layout.ts";
import { keepPolicies } from "./policies.ts";
import { maxLogBytes } from "./processes.ts";
import { reconcileVolumes } from "./volumes.ts";

const intervalMilliseconds = 1000;
const logCheckRounds = 30;

async function boundLogs(): Promise<void> {
  const directory = inCluster("logs");
  for (const name of (await readdir(directory)).filter((file) => file.endsWith(".log"))) {
    const path = join(directory, name);
    if ((await stat(path)).size < maxLogBytes) continue;
    await copyFile(path, `${path}.1`);
    await truncate(path);
  }
}

/** Says each failure once, however often it comes again. */
function reporter(): (error?: unknown) => void {
  let last = "";
  return (error) => {
    const failure = error === undefined ? "" : message(error);
    if (failure !== "" && failure !== last) process.stderr.write(`${new Date().toISOString()} ${failure}\n`);
    last = failure;
  };
}

const api = await connect("keeper");
void keepPolicies(api, reporter());
const report = reporter();
for (let round = 0; ; round++) {
  try {
    await reconcileVolumes(api);
    if (round % logCheckRounds === 0) await boundLogs();
    report();
  } catch (error) {
    report(error);
  }
  await sleep(intervalMilliseconds);
}
