/** The prober as the image runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import { freePort } from "../../app/tests/support/processes.ts";

export interface RunningProber {
  /** What Prometheus is told; empty while nobody answers. */
  readonly metrics: () => Promise<string>;
  /** All that it has logged. */
  readonly said: () => string;
  readonly stop: () => Promise<void>;
}

/** Starts a round each second. */
export async function startProber(environment: Readonly<Record<string, string>>): Promise<RunningProber> {
  const port = await freePort();
  const program = join(import.meta.dirname, "../../k8s-manifests/prober/prober.py");
  const fixed = { PROBE_INTERVAL_SECONDS: "1", METRICS_PORT: String(port), PYTHONDONTWRITEBYTECODE: "1" };
  const prober = spawn("python3", [program], {
    env: { ...process.env, ...fixed, ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  prober.stdout.on("data", (text: Buffer) => (said += text.toString()));
  return {
    metrics: async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined);
      return (await answer?.text()) ?? "";
    },
    said: () => said,
    stop: async () => {
      const ended = once(prober, "exit");
      prober.kill("SIGTERM");
      await ended;
    },
  };
}
