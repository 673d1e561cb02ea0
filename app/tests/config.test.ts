import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { purposeOf, readConfig } from "../src/config/config.ts";
import { environmentTable } from "../src/config/environment.ts";
import { sample } from "../src/config/sample.ts";
import { type VariableName, variables } from "../src/config/variables.ts";
import { documentInput } from "../src/documents/document.ts";
import { writeKeyFile } from "./support/service.ts";

const names = Object.keys(variables) as VariableName[];
const credentials = names.filter((name) => variables[name].meta()?.["credential"] === true);

async function complete(): Promise<Record<string, string>> {
  const secret = join(await mkdtemp(join(tmpdir(), "secret-")), "password");
  await writeFile(secret, "s3cret\n");
  return {
    DATABASE_URL: "postgres://app_user@db:5433/app",
    DATABASE_PASSWORD_FILE: secret,
    REDIS_CACHE_URL: "redis://cache:6379",
    REDIS_CACHE_PASSWORD_FILE: secret,
    REDIS_QUEUE_URL: "rediss://app@queue",
    REDIS_QUEUE_PASSWORD_FILE: secret,
    JWT_KEYS_FILE: await writeKeyFile(),
    FIELD_KEYS_FILE: await writeKeyFile(),
  };
}

describe("the configuration", () => {
  it("is read whole when everything is set", async () => {
    const { config, problems } = readConfig({ ...(await complete()), REQUIRE_CREDENTIALS: "true" });
    expect(problems).toEqual([]);
    expect(config).toMatchObject({
      environment: "production",
      port: 3000,
      metricsPort: 9464,
      database: { host: "db", port: 5433, user: "app_user", database: "app", poolSize: 10, poolOverflow: 20 },
      cache: { host: "cache", port: 6379, tls: false },
      queue: { user: "app", host: "queue", port: 6379, tls: true },
    });
  });

  it("has room for the longest document, however its JSON is spelt", () => {
    const longest = { title: "題".repeat(200), content: "字".repeat(100_000) };
    expect(documentInput.safeParse(longest).success).toBe(true);
    const escaped = JSON.stringify(longest).replace(
      /[^\x20-\x7e]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16)}`,
    );
    expect(JSON.parse(escaped)).toEqual(longest);
    expect((readConfig({}).config?.bodyLimitKiB ?? 0) * 1024).toBeGreaterThan(escaped.length);
  });

  it("takes origins and the collector as they are written", () => {
    const { config } = readConfig({
      CORS_ORIGINS: "https://a.example, https://b.example:8443",
      OTLP_TRACES_URL: "http://collector:4318/v1/traces",
      TRACE_SAMPLE_RATIO: "0.25",
    });
    expect(config).toMatchObject({
      corsOrigins: ["https://a.example", "https://b.example:8443"],
      tracing: { url: "http://collector:4318/v1/traces", sampleRatio: 0.25 },
    });
    expect(readConfig({}).config).toMatchObject({
      corsOrigins: [],
      tracing: { url: undefined, sampleRatio: 0.1 },
    });
  });

  it("refuses field keys of another size than AES-256 takes", async () => {
    const path = join(await mkdtemp(join(tmpdir(), "secret-")), "field-keys.json");
    await writeFile(path, JSON.stringify({ active: "k", keys: { k: Buffer.alloc(48).toString("base64") } }));
    expect(readConfig({ JWT_KEYS_FILE: path }).config).toBeDefined();
    const { config, problems } = readConfig({ FIELD_KEYS_FILE: path });
    expect(config).toBeUndefined();
    expect(JSON.stringify(problems)).toContain("exactly 32 bytes");
  });

  it("names every missing variable with its purpose, and the service starts without them", () => {
    const { config, problems } = readConfig({});
    expect(config).toBeDefined();
    expect(problems.map(({ variable }) => variable)).toEqual(credentials);
    expect(problems.every(({ purpose, problem }) => purpose.length > 10 && problem === "missing")).toBe(true);
  });

  it.each(credentials)("is refused without %s under REQUIRE_CREDENTIALS=true", async (name) => {
    const env = { ...(await complete()), REQUIRE_CREDENTIALS: "true" };
    const { config, problems } = readConfig({ ...env, [name]: " " });
    expect(config).toBeUndefined();
    expect(problems.map(({ variable }) => variable)).toEqual([name]);
  });

  it.each([
    ["REDIS_QUEUE_SENTINELS", "redis-0:26379,redis-1"],
    ["REDIS_QUEUE_SENTINELS", "redis-0:70000"],
    ["ENVIRONMENT", "staging"],
    ["LOG_LEVEL", "loud"],
    ["REQUIRE_CREDENTIALS", "maybe"],
    ["PORT", "65536"],
    ["PORT", "0x50"],
    ["METRICS_PORT", "-1"],
    ["TRUSTED_PROXIES", "10.0.0.0/33"],
    ["TRUSTED_PROXIES", "10.0.0.0/0"],
    ["TRUSTED_PROXIES", "everyone"],
    ["BODY_LIMIT_KIB", "0"],
    ["SHUTDOWN_DELAY_SECONDS", "1.5"],
    ["DATABASE_URL", "mysql://app@db/app"],
    ["DATABASE_URL", "postgres://app_user:hunter2@db/app"],
    ["DATABASE_URL", "postgres://db/app"],
    ["DATABASE_URL", "postgres://app_user@db"],
    ["DATABASE_URL", "postgres://app_user@db/%E0%A4%A"],
    ["DATABASE_PASSWORD_FILE", "/does/not/exist"],
    ["DATABASE_POOL_SIZE", "0"],
    ["REDIS_CACHE_URL", "http://cache"],
    ["REDIS_QUEUE_URL", "redis://:hunter2@queue"],
    ["JWT_KEYS_FILE", "/dev/null"],
    ["USER_SESSION_TTL_SECONDS", "59"],
    ["LDAP_URL", "http://directory"],
    ["LDAP_URL", "ldaps://admin:hunter2@directory"],
    ["LDAP_CA_FILE", "/dev/null"],
    ["LDAP_USER_DN", "uid=ada,ou=people"],
    ["LDAP_SEARCH_FILTER", "uid={username}"],
    ["LDAP_BIND_PASSWORD_FILE", "/does/not/exist"],
    ["LDAP_GROUP_ROLES", "hunter2"],
    ["LDAP_GROUP_ROLES", "{}"],
    ["LDAP_GROUP_ROLES", '{"cn=a":"owner"}'],
    ["OIDC_ISSUER", "http://issuer.example"],
    ["OIDC_ISSUER", "http://localhost.example"],
    ["CORS_ORIGINS", "*"],
    ["CORS_ORIGINS", "https://example.org/path"],
    ["AI_URL", "ftp://ai"],
    ["AI_URL", "https://user:hunter2@ai/v1"],
    ["AI_KEYS_FILE", "/does/not/exist"],
    ["AI_MAX_RETRIES", "11"],
    ["CHAT_LIMIT_PER_MINUTE", "0"],
    ["CORS_ORIGINS", "*"],
    ["CORS_ORIGINS", "null"],
    ["CORS_ORIGINS", "http://console.example.com"],
    ["CORS_ORIGINS", "https://console.example.com/"],
    ["CORS_ORIGINS", "https://console.example.com:443"],
    ["CORS_ORIGINS", "https://*.example.com,"],
    ["OTLP_TRACES_URL", "collector:4318"],
    ["OTLP_TRACES_URL", "http://user:hunter2@collector:4318/v1/traces"],
    ["TRACE_SAMPLE_RATIO", "1.1"],
    ["TRACE_SAMPLE_RATIO", "-0"],
    ["TRACE_SAMPLE_RATIO", "1e-3"],
    ["FEEDS_FILE", "/dev/null"],
    ["GENERATE_CONCURRENCY", "0"],
    ["COLLECT_TIME_LIMIT_SECONDS", "1h"],
    ["COLLECTION_SCHEDULE", "* * * * * *"],
    ["COLLECTION_SCHEDULE", "60 * * * *"],
    ["SUMMARIES_SCHEDULE", "*/0 * * * *"],
    ["CLEAN_UP_SCHEDULE", "0 5-3 * * *"],
    ["CLEAN_UP_SCHEDULE", "daily"],
    ["SCHEDULE_TIME_ZONE", "Mars/Olympus"],
  ] as const)(
    "is refused for %s=%s even when nothing is required, without repeating the value",
    (name, value) => {
      const { config, problems } = readConfig({ [name]: value });
      expect(config).toBeUndefined();
      const [malformed] = problems.filter(({ problem }) => problem === "malformed");
      expect(malformed).toMatchObject({ variable: name, purpose: purposeOf(name) });
      expect(JSON.stringify(problems)).not.toContain("hunter2");
    },
  );

  it("asks for what belongs together in signing in, and has it whole", () => {
    const malformed = (env: Record<string, string>) =>
      readConfig(env)
        .problems.filter(({ problem }) => problem === "malformed")
        .map(({ variable }) => variable);
    const ldap = {
      LDAP_URL: "ldaps://directory:636",
      LDAP_TENANT: "acme",
      LDAP_SEARCH_BASE: "ou=people",
      LDAP_GROUP_ROLES: '{"cn=admins":"admin"}',
    };
    expect(malformed({ LDAP_URL: ldap.LDAP_URL })).toEqual([
      "LDAP_TENANT",
      "LDAP_USER_DN",
      "LDAP_GROUP_ROLES",
    ]);
    expect(malformed({ ...ldap, LDAP_USER_DN: "uid={username},ou=people" })).toEqual(["LDAP_USER_DN"]);
    expect(malformed({ ...ldap, LDAP_BIND_DN: "cn=reader" })).toEqual(["LDAP_BIND_PASSWORD_FILE"]);
    expect(malformed({ OIDC_ISSUER: "https://issuer.example" })).toEqual(["OIDC_AUDIENCE"]);
    const oidc = { OIDC_ISSUER: "https://issuer.example", OIDC_AUDIENCE: "api" };
    expect(readConfig({ ...ldap, ...oidc }).config).toMatchObject({
      ldap: {
        url: "ldaps://directory:636",
        tenant: "acme",
        user: { base: "ou=people", filter: "(uid={username})" },
        groupRoles: { "cn=admins": "admin" },
      },
      oidc: { issuer: "https://issuer.example", audience: "api", tenantClaim: "tenant", roleClaim: "role" },
    });
    expect(readConfig({}).config).toMatchObject({ ldap: undefined, oidc: undefined });
  });

  it.each([
    ["not JSON", "{"],
    ["a feed that is no web address", '{"acme": ["file:///etc/passwd"]}'],
    ["a feed with a password", '{"acme": ["https://me:hunter2@example.com/"]}'],
    ["one feed where a list is expected", '{"acme": "https://example.com/"}'],
  ])("is refused for a FEEDS_FILE with %s", async (_, text) => {
    const FEEDS_FILE = join(await mkdtemp(join(tmpdir(), "feeds-")), "feeds.json");
    await writeFile(FEEDS_FILE, text);
    const { config, problems } = readConfig({ FEEDS_FILE });
    expect(config).toBeUndefined();
    expect(JSON.stringify(problems)).not.toContain("hunter2");
  });

  it("takes schedules with steps, ranges and lists", () => {
    const { config } = readConfig({ COLLECTION_SCHEDULE: "*/15 8-18,22 1,15 * 1-5" });
    expect(config?.jobs.schedules.collection).toBe("*/15 8-18,22 1,15 * 1-5");
  });

  it("lists malformed and missing variables together", () => {
    const { problems } = readConfig({ PORT: "x", LOG_LEVEL: "y" });
    expect(problems.map(({ variable }) => variable)).toEqual(["LOG_LEVEL", "PORT", ...credentials]);
  });

  it("never crashes, whatever the values", () => {
    const values = fc.dictionary(
      fc.constantFrom(...names),
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.webUrl(),
        fc.string().map((text) => `postgres://${text}`),
        fc.string().map((text) => `redis://a/${text}`),
        fc.nat().map(String),
        fc.ipV6(),
      ),
    );
    fc.assert(
      fc.property(values, (env) => {
        const { config, problems } = readConfig({ ...env });
        expect(config !== undefined || problems.length > 0).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("has an up-to-date .env.sample", async () => {
    expect(await readFile(new URL("../.env.sample", import.meta.url), "utf8")).toBe(sample());
  });

  it("is listed whole in docs/environment.md, which is up to date", async () => {
    const file = new URL("../../docs/environment.md", import.meta.url);
    expect(await readFile(file, "utf8")).toBe(environmentTable());
    expect(names.filter((name) => !environmentTable().includes(`| \`${name}\` |`))).toEqual([]);
  });
});
