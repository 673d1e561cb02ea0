import type { OpenAI } from "openai";

/**
 * A client for one attempt. The package is loaded at the first use: it takes longer than the rest of the service's
 * start. Its own retries are off, so that only src/ai/provider.ts decides; so are its logs, which quote answers.
 */
export async function createClient(url: string | undefined, apiKey: string): Promise<OpenAI> {
  const { OpenAI } = await import("openai");
  return new OpenAI({
    baseURL: url,
    apiKey,
    organization: null,
    project: null,
    maxRetries: 0,
    logLevel: "off",
    fetchOptions: { redirect: "error" },
  });
}
