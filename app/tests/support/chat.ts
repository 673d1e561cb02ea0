import type { Config } from "../../src/config/settings.ts";
import { newDatabase, type PostgresAddress } from "./postgres.ts";
import { FakeProvider } from "./provider.ts";
import type { Redis } from "./redis.ts";
import { jwt, newTenant, startTestService, testConfig, type TestService, writeKeyFile } from "./service.ts";
import { type EventStream, openStream, type StreamEvent } from "./stream.ts";

interface CallOptions {
  at?: TestService;
  token?: string;
  sessionId?: string;
}

/** Two replicas of the service with a fake provider, and a user who asks them. */
export interface ChatHarness {
  provider: FakeProvider;
  database: string;
  service: TestService;
  other: TestService;
  tenant: string;
  token: string;
  /** A replica more. */
  startReplica(overrides?: Partial<Config>): Promise<TestService>;
  /** A token of another tenant's user. */
  foreignToken(): Promise<string>;
  ask(message?: string, options?: CallOptions): Promise<EventStream>;
  askWhole(message?: string, options?: CallOptions): Promise<StreamEvent[]>;
  resume(answerId: unknown, after: number, options?: CallOptions): Promise<EventStream>;
  stop(): Promise<void>;
}

let questions = 0;

/** A question that is in no cache. */
export function question(): string {
  return `Question ${++questions}`;
}

export async function startChat(postgres: PostgresAddress, redis: Redis["config"]): Promise<ChatHarness> {
  const provider = await FakeProvider.start();
  const database = await newDatabase(postgres);
  const { ai, speech, ocr, chat } = testConfig();
  const common: Partial<Config> = {
    jwt: { ...jwt, keysFile: await writeKeyFile() },
    fieldKeysFile: await writeKeyFile(),
    ai: { ...ai, url: provider.url },
    speech: { ...speech, url: provider.url },
    ocr: { ...ocr, url: provider.url },
    chat: { ...chat, resumeSeconds: 1, heartbeatSeconds: 0.3 },
  };
  const startReplica = (overrides: Partial<Config> = {}) =>
    startTestService(postgres, database, redis, { ...common, ...overrides });
  const [service, other] = await Promise.all([startReplica(), startReplica()]);
  const tenant = await newTenant(postgres, database);
  const token = await service.token("viewer", tenant);
  const ask: ChatHarness["ask"] = (message = question(), options = {}) => {
    const { at = service, sessionId } = options;
    const body = { message, ...(sessionId !== undefined && { sessionId }) };
    return openStream(`${at.url}/api/v2/chat`, options.token ?? token, { body });
  };
  return {
    provider,
    database,
    service,
    other,
    tenant,
    token,
    startReplica,
    foreignToken: async () => service.token("viewer", await newTenant(postgres, database)),
    ask,
    askWhole: async (message, options) => (await ask(message, options)).rest(),
    resume: (answerId, after, options = {}) =>
      openStream(
        `${(options.at ?? service).url}/api/v2/chat/${String(answerId)}/events`,
        options.token ?? token,
        { headers: { "last-event-id": String(after) } },
      ),
    async stop() {
      await Promise.all([service.stop(), other.stop()]);
      await provider.stop();
    },
  };
}
