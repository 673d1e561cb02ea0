import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProviderConfig } from "../../src/config/settings.ts";
import { Metrics } from "../../src/observability/metrics.ts";
import { FakeProvider } from "./provider.ts";

/** A provider with two keys, what leads to it, and the metrics of who asks it. */
export async function startAi(): Promise<{
  provider: FakeProvider;
  calls: Partial<ProviderConfig>;
  metrics: Metrics;
}> {
  // Loaded at the first use, which on a busy machine takes longer than an attempt may here.
  await import("openai");
  const provider = await FakeProvider.start();
  const keysFile = join(await mkdtemp(join(tmpdir(), "groundwork-ai-")), "keys");
  await writeFile(keysFile, "key-1\nkey-2\n");
  const calls = { url: provider.url, keysFile, timeoutSeconds: 2, maxRetries: 2 };
  return { provider, calls, metrics: new Metrics() };
}

/** How many attempts ended in which way. */
export async function outcomesOf({ registry }: Metrics): Promise<Record<string, number>> {
  const requests = await registry.getSingleMetric("app_ai_requests_total")?.get();
  return Object.fromEntries(
    (requests?.values ?? []).map(({ labels, value }) => [String(labels["outcome"]), value]),
  );
}
