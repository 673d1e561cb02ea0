import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { z } from "zod";

import { jobVariables } from "../../app/src/config/jobVariables.ts";
import { variables } from "../../app/src/config/variables.ts";
import { readConfig } from "../../components/config.ts";
import { updateProblems } from "../../components/configChecks.ts";
import { largestVariables } from "../../components/edgeChecks.ts";
import { manifestFiles } from "../../components/manifests.ts";

const digest = `registry.example.com/x@sha256:${"a".repeat(64)}`;
const tls =
  "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----";
const development = {
  "groundwork:environment": "development",
  "groundwork:cluster": '{"context":"kind"}',
  "groundwork:images": '{"app":"app:1","postgres":"postgres:1","exporters":"exporters:1"}',
  "groundwork:backups": `{"ageRecipient":"age1${"q".repeat(58)}"}`,
  "groundwork:tlsBundle": tls,
  "groundwork:internalCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresTls": tls,
  "groundwork:redisTls": tls,
  "groundwork:appTls": tls,
  "groundwork:azuriteTls": tls,
  "groundwork:ageIdentity": `AGE-SECRET-KEY-1${"Q".repeat(58)}`,
};
const secretKeys = new Set(
  ["tlsBundle", "internalCa", "postgresTls", "redisTls", "appTls", "azuriteTls", "ageIdentity"].map(
    (key) => `groundwork:${key}`,
  ),
);
const production = {
  "groundwork:environment": "production",
  "groundwork:cluster": '{"context":"aks"}',
  "groundwork:images": JSON.stringify(
    Object.fromEntries(
      ["app", "postgres", "redis", "nginx", "prometheus", "alertmanager", "grafana", "exporters"].map((i) => [
        i,
        digest,
      ]),
    ),
  ),
  "groundwork:backups": development["groundwork:backups"],
  "groundwork:app": '{"replicas":3}',
  "groundwork:workers": '{"replicas":2}',
  "groundwork:edge": '{"replicas":2}',
  "groundwork:postgres": '{"members":3,"maxConnections":200}',
  "groundwork:redis": '{"queue":{"members":3}}',
  "groundwork:secrets": '{"store":"keyVault"}',
  "groundwork:monitoring": '{"notifications":{"slack":{"channel":"#alerts"},"deadMansSwitch":{}}}',
  "groundwork:azure": JSON.stringify({
    subscriptionId: "00000000-0000-0000-0000-000000000000",
    tenantId: "00000000-0000-0000-0000-000000000000",
    location: "japaneast",
    access: "allowlist",
    allowlist: ["203.0.113.0/24"],
    existing: {
      oidcIssuerUrl: "https://issuer.example.com/",
      endpointSubnetId:
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/endpoints",
    },
  }),
};
const problems = (all: Record<string, string>, secrets: ReadonlySet<string> = secretKeys) =>
  readConfig(all, secrets).problems;

describe("the stack's configuration", () => {
  test("takes more variables of the app, and the contents of the files that they name as secrets", () => {
    const set = (app: object, files: object, keys = [...secretKeys, "groundwork:appFiles"]) =>
      readConfig(
        {
          ...development,
          "groundwork:app": JSON.stringify(app),
          "groundwork:appFiles": JSON.stringify(files),
        },
        new Set(keys),
      );
    const files = { AI_KEYS_FILE: "sk-1" };
    const {
      values,
      secrets,
      problems: none,
    } = set({ variables: { AI_URL: "https://ai.example.org", JOB_RETRIES: 2 } }, files);
    expect(none).toEqual([]);
    expect(values?.app.variables).toEqual({ AI_URL: "https://ai.example.org", JOB_RETRIES: "2" });
    expect(secrets.appFiles).toEqual(files);
    expect(set({}, files, [...secretKeys]).problems).toEqual([
      "groundwork:appFiles is stored in plain text; set it with: pulumi config set --secret groundwork:appFiles",
    ]);
    const variables = { DATABASE_URL: "postgres://x", "ai url": "x", AI_MODEL: ["x"] };
    const wrong = set({ variables }, { AI_URL: "x" });
    expect(wrong.problems).toHaveLength(4);
    expect(wrong.problems.join("\n")).toMatch(/app\.variables\.AI_MODEL.*must be a text, a number/);
    expect(wrong.problems.join("\n")).toMatch(/app\.variables\.DATABASE_URL.*set by the stack itself/);
    expect(wrong.problems.join("\n")).toMatch(/app\.variables\.ai url.*must be the name of a variable/);
    expect(wrong.problems.join("\n")).toMatch(/appFiles\.AI_URL.*names a file/);
  });

  test("refuses variables of the app with which the edge would give up before the app does", () => {
    const refused = (app: object) => problems({ ...development, "groundwork:app": JSON.stringify(app) });
    const tooLarge = Object.entries(largestVariables).map(([name, largest]) => [name, largest + 1] as const);
    expect(refused({ variables: largestVariables })).toEqual([]);
    expect(refused({ variables: Object.fromEntries(tooLarge) })).toEqual(
      tooLarge.map(
        ([name, value]) =>
          `groundwork:app.variables.${name}: must be a number up to ${value - 1}, which the edge lets through (found ${value})`,
      ),
    );
    expect(refused({ variables: { SPEECH_DEADLINE_SECONDS: "35s" } })).toHaveLength(1);
    const container = { command: ["./podinfo"] };
    expect(refused({ variables: Object.fromEntries(tooLarge), container })).toEqual([]);
    for (const [name, largest] of Object.entries(largestVariables)) {
      const byDefault = variables[name as keyof typeof largestVariables].parse(undefined);
      expect(byDefault, name).toBeLessThanOrEqual(largest);
    }
  });

  test("lets the edge wait for longer than the app's largest deadlines", () => {
    const nginx = manifestFiles("nginx")["nginx.conf"] ?? "";
    const seconds = (at: string) => Number(new RegExp(`${at}proxy_read_timeout (\\d+)s;`).exec(nginx)?.[1]);
    const { SPEECH_DEADLINE_SECONDS: speech, OCR_DEADLINE_SECONDS: ocr, ...rest } = largestVariables;
    expect(seconds("")).toBeGreaterThan(
      rest.DATABASE_ACQUIRE_TIMEOUT_SECONDS + rest.DATABASE_STATEMENT_TIMEOUT_SECONDS,
    );
    expect(seconds("speech[^}]*")).toBeGreaterThan(Math.max(2 * speech, ocr));
    expect(nginx).toContain(`client_max_body_size ${rest.BODY_LIMIT_KIB / 1024}m;`);
  });

  test("refuses generations of keys beside another stack's keys", () => {
    const given = {
      "groundwork:fieldKeys": JSON.stringify({ active: "1", keys: { "1": `${"A".repeat(43)}=` } }),
    };
    const problems = (fields: number[]): string =>
      readConfig(
        { ...development, ...given, "groundwork:app": JSON.stringify({ keys: { fields } }) },
        new Set([...secretKeys, "groundwork:fieldKeys"]),
      ).problems.join("\n");
    expect(problems([1])).not.toContain("fieldKeys");
    expect(problems([1, 2])).toContain("groundwork:app.keys.fields: [1, 2] has no effect");
  });

  test("takes a small development stack and fills in every default", () => {
    const { values, problems: found } = readConfig(development, secretKeys);
    expect(found).toEqual([]);
    expect(values).toMatchObject({
      app: { replicas: 1, poolSize: 10, poolOverflow: 20 },
      postgres: { members: 1 },
    });
  });

  test("demands each secret that pods mount in the same up that makes the vault, and no other", () => {
    const { existing: _, ...azure } = JSON.parse(production["groundwork:azure"]) as Record<string, unknown>;
    const { "groundwork:cluster": __, ...rest } = production;
    const created = { ...rest, "groundwork:azure": JSON.stringify({ ...azure, cluster: "create" }) };
    const demanded = (settings: Record<string, string>, keys = new Set<string>()) =>
      problems({ ...created, ...settings }, keys).map((problem) => {
        expect(problem).toMatch(/^groundwork:(\w+): missing; .*pulumi config set --secret groundwork:\1$/);
        return problem.split(":")[1];
      });
    const always = ["tlsBundle", "internalCa", "postgresTls", "redisTls", "appTls", "ageIdentity"];
    const channels = ["slackWebhookUrl", "deadMansSwitchUrl"];
    expect(demanded({})).toEqual([...always, ...channels]);
    expect(problems(created, new Set()).join("\n")).toContain("the same up that makes the vault");
    const fewer = {
      "groundwork:edge":
        '{"replicas":2,"certificate":{"from":"certManager","issuer":{"name":"letsencrypt"}}}',
      "groundwork:postgres": '{"kind":"managed","storageGiB":64,"maxConnections":200}',
      "groundwork:redis": '{"kind":"managed"}',
    };
    expect(demanded(fewer)).toEqual(["internalCa", "appTls", "ageIdentity", ...channels]);
    const given = { ...created, ...fewer };
    const secrets = Object.fromEntries(
      ["internalCa", "appTls", "ageIdentity"].map((key) => [
        `groundwork:${key}`,
        development[`groundwork:${key}` as keyof typeof development],
      ]),
    );
    const urls = channels.map((key) => [`groundwork:${key}`, "https://hooks.example.com/services/x"]);
    const all = { ...given, ...secrets, ...(Object.fromEntries(urls) as Record<string, string>) };
    expect(problems(all, new Set([...Object.keys(secrets), ...urls.flat()]))).toEqual([]);
  });

  test("takes a production stack with images by digest", () => {
    expect(problems(production)).toEqual([]);
  });

  test("lists every mistake at once, each with its key, what was found and what it may be", () => {
    const found = problems({
      ...development,
      "groundwork:app": '{"replicas":0,"colour":"red"}',
      "groundwork:edge": '{"trustedProxies":["everyone"]}',
      "groundwork:typo": "1",
    });
    expect(found).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/groundwork:app\.replicas: .*1.*found 0/),
        "groundwork:app.colour: no such key",
        expect.stringMatching(/groundwork:edge\.trustedProxies\.0: .*10\.0\.0\.0\/8.*"everyone"/),
        "groundwork:typo: no such key",
      ]),
    );
  });

  test("names the keys that are missing", () => {
    const found = problems({}, new Set()).join("\n");
    for (const key of ["environment", "cluster", "backups"]) expect(found).toContain(`groundwork:${key}`);
  });

  test("needs no certificate of an app that speaks plain HTTP", () => {
    const without: Record<string, string> = { ...development };
    delete without["groundwork:appTls"];
    expect(problems(without).join()).toContain("groundwork:appTls: missing");
    expect(problems({ ...without, "groundwork:app": '{"container":{"tls":false}}' })).toEqual([]);
  });

  test("refuses a secret that is stored in plain text, without printing it", () => {
    const found = problems(development, new Set(["groundwork:tlsBundle"])).join("\n");
    expect(found).toContain("groundwork:ageIdentity is stored in plain text");
    expect(found).not.toContain("AGE-SECRET-KEY-1Q");
  });

  test("does not print a malformed secret", () => {
    const found = problems({ ...development, "groundwork:ageIdentity": "hunter2" }).join("\n");
    expect(found).toContain("groundwork:ageIdentity: must be an age identity");
    expect(found).not.toContain("hunter2");
  });

  test("counts the connections of as many pods as a scaler may make, and refuses one that may make fewer than there are", () => {
    const scaled = { "groundwork:app": '{"replicas":3,"scaling":{"maxReplicas":10}}' };
    expect(problems({ ...production, ...scaled })).toEqual([
      expect.stringMatching(/too few for 10 app pods .* raise it to 396/),
    ]);
    expect(
      problems({ ...production, "groundwork:app": '{"replicas":3,"scaling":{"maxReplicas":2}}' }),
    ).toEqual(["groundwork:app.scaling.maxReplicas: 2 is below groundwork:app.replicas (3)"]);
    expect(
      problems({ ...production, "groundwork:workers": '{"replicas":2,"scaling":"keda","maxReplicas":1}' }),
    ).toEqual(["groundwork:workers.maxReplicas: 1 is below groundwork:workers.replicas (2)"]);
  });

  test("refuses more app connections than the database accepts, and says how many it needs", () => {
    const found = problems({ ...development, "groundwork:app": '{"replicas":4}' });
    expect(found).toEqual([expect.stringMatching(/maxConnections: 100 is too few .* raise it to 187/)]);
  });

  test("takes no secret where it would be plain in pods and in the state", () => {
    const app = { "groundwork:app": '{"variables":{"SOME_TOKEN":"x"}}' };
    expect(problems({ ...development, ...app })).toEqual([]);
    expect(problems({ ...development, ...app }, new Set([...secretKeys, "groundwork:app"]))).toEqual([
      expect.stringMatching(/^groundwork:app has a value that was set with --secret, .*groundwork:appFiles$/),
    ]);
  });

  test.each([
    [
      "a quota of CPU limits",
      "cluster",
      { context: "kind", quotas: { app: { "limits.cpu": "8" } } },
      /must not be limits\.cpu/,
    ],
    [
      "two listeners on one port",
      "app",
      { container: { port: 9464 } },
      /app\.container\.metricsPort: must be another port/,
    ],
    [
      "one port of the nodes for both",
      "edge",
      { service: { type: "NodePort", httpsPort: 30443, httpPort: 30443 } },
      /httpPort: must be another port/,
    ],
    [
      "a host in capitals",
      "edge",
      { hosts: ["API.example.com"] },
      /edge\.hosts\.0: must be a host name in small letters/,
    ],
    [
      "a host with a dot at its end",
      "edge",
      { hosts: ["api.example.com."] },
      /edge\.hosts\.0: must be a host name/,
    ],
    [
      "two hosts of one name",
      "edge",
      { hosts: ["a-b.example.com", "a.b.example.com"] },
      /edge\.hosts: must differ/,
    ],
    [
      "a feed with a password",
      "workers",
      { feeds: { acme: ["https://me:secret@example.com/"] } },
      /must carry no user name/,
    ],
    [
      "a feed too long",
      "workers",
      { feeds: { acme: [`https://example.com/${"x".repeat(1000)}`] } },
      /feeds\.acme\.0/,
    ],
    [
      "names of days",
      "workers",
      { schedules: { summaries: "0 9 * * MON-FRI" } },
      /schedules\.summaries: must be a cron/,
    ],
    [
      "a Sunday that no CronJob knows",
      "backups",
      { ...JSON.parse(development["groundwork:backups"]), weekly: "0 4 * * 7" },
      /backups\.weekly: must be a cron expression .* from 0 to 6/,
    ],
    ["two members", "postgres", { members: 2 }, /postgres\.members: must be 1, 3 or 5 \(found 2\)/],
    ["two servers", "redis", { queue: { members: 2 } }, /redis\.queue\.members: must be 1, 3 or 5/],
    [
      "a minute that no hour has",
      "backups",
      { ...JSON.parse(development["groundwork:backups"]), hourly: "61 * * * *" },
      /backups\.hourly/,
    ],
  ] as const)("refuses %s", (_, section, value, message) => {
    const found = problems({ ...development, [`groundwork:${section}`]: JSON.stringify(value) });
    expect(found).toEqual([expect.stringMatching(message)]);
  });

  test.each([
    "* * * * *",
    "*/15 * * * *",
    "0 9 * * 1-5",
    "0,30 0-23/2 1,15 */3 0-7",
    "59 23 31 12 7",
    "05 05 05 05 5",
    "5/10 * * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * 32 * *",
    "* * * 13 *",
    "* * * * 8",
    "30-5 * * * *",
    "*/0 * * * *",
    "* * * *",
    "@hourly",
    "0 9 * * MON",
    "1-5-7 * * * *",
    ", * * * *",
    "*  * * * *",
    " * * * * *",
    "100 * * * *",
    "*/100 * * * *",
  ])("takes the schedule %j where the worker does, and nowhere else", (schedule) => {
    const workers = { "groundwork:workers": JSON.stringify({ schedules: { collection: schedule } }) };
    const taken = problems({ ...development, ...workers }).length === 0;
    const worker = z.object(jobVariables).safeParse({ COLLECTION_SCHEDULE: schedule }).success;
    expect(taken).toBe(worker);
  });

  test("asks for the images that have no upstream", () => {
    expect(problems({ ...development, "groundwork:images": "{}" }).join("\n")).toMatch(
      /images\.app: missing[\s\S]*images\.postgres: missing/,
    );
  });

  test.each([
    [
      "an image by tag",
      { "groundwork:images": production["groundwork:images"].replace(digest, "nginx:1") },
      "production runs images by digest",
    ],
    [
      "one Prometheus and one Alertmanager",
      { "groundwork:monitoring": '{"replicas":1,"notifications":{"slack":{"channel":"#alerts"}}}' },
      "monitoring.replicas: production needs at least 2 (found 1)",
    ],
    [
      "an app that is reached in plain text",
      { "groundwork:app": '{"replicas":3,"container":{"tls":false}}' },
      "app.container.tls: production encrypts the way from the edge to the app",
    ],
    ["one app pod", { "groundwork:app": '{"replicas":1}' }, "app.replicas: production needs at least 2"],
    [
      "one worker",
      { "groundwork:workers": '{"replicas":1}' },
      "workers.replicas: production needs at least 2",
    ],
    [
      "one database member",
      { "groundwork:postgres": '{"members":1,"maxConnections":200}' },
      "postgres.members: production needs at least 3 (found 1)",
    ],
    [
      "one member of the queue",
      { "groundwork:redis": '{"queue":{"members":1}}' },
      "redis.queue.members: production needs at least 3 (found 1)",
    ],
    [
      "a missing backup key",
      { "groundwork:backups": "{}" },
      "groundwork:backups.ageRecipient: missing; set ageRecipient, the public key that backups are encrypted to",
    ],
    [
      "secrets in Kubernetes",
      { "groundwork:secrets": '{"store":"kubernetes"}' },
      "production keeps secrets in keyVault",
    ],
    [
      "alerts that nobody gets",
      { "groundwork:monitoring": "{}" },
      "production needs slack, email or webhookUrl",
    ],
    [
      "an alerting that could stop unseen",
      { "groundwork:monitoring": '{"notifications":{"slack":{"channel":"#alerts"}}}' },
      "monitoring.notifications.deadMansSwitch: production needs somebody outside the cluster",
    ],
    [
      "alerts in plain text",
      { "groundwork:monitoring": '{"notifications":{"webhookUrl":"http://alerts.example.com/"}}' },
      "webhookUrl: production needs https",
    ],
    [
      "metrics in plain text",
      { "groundwork:monitoring": '{"remoteWrite":{"url":"http://metrics.example.com/"}}' },
      "remoteWrite.url: production needs https",
    ],
    ["a vault without Azure settings", { "groundwork:azure": "" }, "groundwork:azure"],
  ])("refuses %s in production", (_, change, message) => {
    expect(problems({ ...production, ...change }).join("\n")).toContain(message);
  });

  test.each(["groundwork-node", "kind-groundwork", "minikube", "docker-desktop"])(
    "refuses to change the context %s for production, and says what to name instead",
    (context) => {
      const { values } = readConfig(
        { ...production, "groundwork:cluster": JSON.stringify({ context }) },
        secretKeys,
      );
      expect(values && updateProblems(values)).toEqual([
        expect.stringMatching(
          `groundwork:cluster.context: "${context}" is a development cluster.*production cluster`,
        ),
      ]);
    },
  );

  test("lets production change its own cluster, and development a local one", () => {
    for (const all of [production, { ...development, "groundwork:cluster": '{"context":"minikube"}' }]) {
      const { values } = readConfig(all, secretKeys);
      expect(values && updateProblems(values)).toEqual([]);
    }
  });

  test("answers any input with problems or values, never with a crash", { timeout: 60_000 }, () => {
    const keys = fc.constantFrom(
      ...Object.keys({ ...production, ...development }),
      "groundwork:x",
      "kubernetes:y",
    );
    const value = fc.oneof(fc.string(), fc.json(), fc.constantFrom(...Object.values(production)));
    const wild = fc.dictionary(keys, value);
    // A configuration that is right but for one value in it.
    const settings = Object.entries(production).filter(([, text]) => text.startsWith("{"));
    const nearlyRight = fc
      .tuple(fc.constantFrom(...settings), fc.nat(), fc.jsonValue({ maxDepth: 1 }))
      .map(([[key, text], place, other]) => ({
        ...production,
        [key]: JSON.stringify(withOther(JSON.parse(text) as object, place, other)),
      }));
    fc.assert(
      fc.property(fc.oneof(wild, nearlyRight), (all) => {
        const result = readConfig(all, secretKeys);
        expect(result.values !== undefined || result.problems.length > 0).toBe(true);
      }),
      { numRuns: 10_000 },
    );
  });
});

/** The object with one of its values, at any depth, replaced. */
function withOther(whole: object, place: number, other: unknown): unknown {
  const places = (value: unknown): number =>
    1 +
    (typeof value === "object" && value !== null
      ? Object.values(value).reduce((sum: number, member) => sum + places(member), 0)
      : 0);
  let left = place % places(whole);
  const copy = (value: unknown): unknown => {
    if (left-- === 0) return other;
    if (Array.isArray(value)) return value.map(copy);
    return typeof value === "object" && value !== null
      ? Object.fromEntries(Object.entries(value).map(([key, member]) => [key, copy(member)]))
      : value;
  };
  return copy(whole);
}
