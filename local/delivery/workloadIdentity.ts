/**
 * A workflow's own identity, as Azure's libraries take it (workload identity federation): a file with a token in which GitHub
 * vouches for the job. The state's backend and the key of its secrets read it; Azure's provider and kubelogin ask GitHub
 * themselves. Without the file the libraries would look for a virtual machine's identity, and stop there.
 */
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { message, say } from "../system.ts";

/** GitHub's tokens last five minutes. */
const renewMs = 2 * 60_000;

/** Runs `work` with an environment that names such a file, kept new as long as it runs; outside a workflow, with the one at hand. */
export async function withWorkloadIdentity<T>(work: (env: NodeJS.ProcessEnv) => Promise<T>): Promise<T> {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = process.env;
  if (!url || !bearer) return work(process.env);
  const directory = await mkdtemp(join(tmpdir(), "groundwork-identity-"));
  const file = join(directory, "token");
  const renew = async (): Promise<void> => {
    await writeFile(`${file}.new`, await requestToken(url, bearer), { mode: 0o600 });
    await rename(`${file}.new`, file);
  };
  try {
    await renew();
    const timer = setInterval(() => {
      renew().catch((error: unknown) => {
        say(`azure: no new token from GitHub: ${message(error)}`);
      });
    }, renewMs);
    try {
      return await work({ ...process.env, AZURE_FEDERATED_TOKEN_FILE: file });
    } finally {
      clearInterval(timer);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function requestToken(url: string, bearer: string): Promise<string> {
  const answer = await fetch(`${url}&audience=api://AzureADTokenExchange`, {
    headers: { Authorization: `Bearer ${bearer}` },
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`GitHub gives no identity token: ${answer.status}`);
  const { value } = z.object({ value: z.string() }).parse(await answer.json());
  // From here on, GitHub shows stars in its place. Pulumi leaves lines open while it works, and this must begin one.
  process.stdout.write(`\n::add-mask::${value}\n`);
  return value;
}
