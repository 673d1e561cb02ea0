/**
 * `make rotate`: new passwords of Postgres or both Redis, with no request failing. Each step is an `up` after which both sides
 * can do what the next one asks of them; a run that was interrupted goes on where the settings say that it is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { kubectl, kubectlProgram, loadImages, type Cluster } from "./cluster.ts";
import { configure } from "./configure.ts";
import { withoutRelease } from "./delivery/noRelease.ts";
import { clusterTarget } from "./delivery/target.ts";
import { runCandidate, versionOf } from "./delivery/traffic.ts";
import type { LocalImages } from "./images.ts";
import {
  keepGenerations,
  next,
  passwordGenerations,
  rotated,
  type Generations,
  type Rotated,
} from "./passwords.ts";
import { run, say, UserError } from "./system.ts";
import { imagesFor, knownEngine, pulumiUp, withKubeconfig } from "./up.ts";

/** The kubelet brings a changed secret to its pods within about a minute and a half. */
const arrivalSeconds = 180;

export function rotate(which: string): Promise<void> {
  const wanted = rotated.filter((name) => which === name || which === "all");
  if (wanted.length === 0)
    throw new UserError(
      `SECRET is "${which}" and may be ${rotated.join(", ")} or all: make rotate SECRET=postgres`,
    );
  // It would lose its pods to the renewal of the warm version.
  return withoutRelease("dev", (cluster) => rotateAll(wanted, cluster));
}

async function rotateAll(wanted: readonly Rotated[], cluster: Cluster): Promise<void> {
  const images = await imagesFor(cluster);
  await loadImages(cluster, images);
  for (const name of wanted) await rotateOne(name, cluster, images);
}

async function rotateOne(name: Rotated, cluster: Cluster, images: LocalImages): Promise<void> {
  const begun = (await passwordGenerations())[name];
  const resumed = begun.length === 2;
  if (resumed) say(`rotate ${name}: going on with ${begun.join(" and ")}`);
  let generations = resumed ? begun : next(begun);
  for (;;) {
    const before = await mounted(name, cluster);
    await keepGenerations({ ...(await passwordGenerations()), [name]: generations });
    say(`rotate ${name}: ${describe(generations)}`);
    await up(cluster, images);
    const now = await mounted(name, cluster);
    const gone = [...before].filter(([file, value]) => now.get(file) !== value);
    await taken(name, cluster, now, true);
    if (generations[0] > (generations[1] ?? 0)) await renewWarmVersion(cluster);
    await taken(name, cluster, new Map(gone), false);
    if (generations.length === 1) break;
    generations = next(generations);
  }
  say(`rotate ${name}: done; the password of before is refused`);
}

function describe([first, second]: Generations): string {
  if (second === undefined) return `generation ${first} alone`;
  return first < second
    ? `generation ${second} is valid beside ${first}`
    : `clients move to generation ${first}, ${second} is still valid`;
}

async function up(cluster: Cluster, images: LocalImages): Promise<void> {
  const world = withKubeconfig({ engine: await knownEngine(), cluster, images });
  await configure(world);
  await pulumiUp(world);
}

/** The version that a release has left warm has its settings from the stack's own, as they were then. */
async function renewWarmVersion(cluster: Cluster): Promise<void> {
  const target = await clusterTarget(cluster);
  const warm = await versionOf(target, "app-candidate");
  if (warm) await runCandidate(target, warm.image);
}

/** Where the app's passwords are checked: as pods see them, by the names of the files that hold them. */
const places: Readonly<Record<Rotated, { readonly file: RegExp; readonly secrets: readonly string[] }>> = {
  postgres: { file: /^app-password(-2)?$/, secrets: ["postgres-secrets"] },
  redis: { file: /^app-password(-2)?$/, secrets: ["redis-queue-secrets", "redis-cache-secrets"] },
};

/** `<secret>/<file>` → password, of the app. */
async function mounted(name: Rotated, cluster: Cluster): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const { file, secrets } = places[name];
  for (const secret of secrets) {
    const text = await kubectl(cluster, ["get", "secret", "--namespace=data", secret, "--output=json"]);
    const { data } = JSON.parse(text) as { data: Record<string, string> };
    for (const [key, value] of Object.entries(data))
      if (file.test(key)) found.set(`${secret}/${key}`, Buffer.from(value, "base64").toString());
  }
  return found;
}

/** Waits until every server takes these passwords, or refuses each. */
async function taken(
  name: Rotated,
  cluster: Cluster,
  passwords: ReadonlyMap<string, string>,
  valid: boolean,
): Promise<void> {
  const deadline = Date.now() + arrivalSeconds * 1000;
  for (const [place, password] of passwords) {
    const [secret = "", file = ""] = place.split("/");
    const workload = secret.replace(/-secrets$/, "");
    const user = name === "redis" ? "app" : `app_user${file.endsWith("-2") ? "_2" : ""}`;
    for (const server of await servers(cluster, workload)) {
      while ((await signsIn(cluster, server, user, password)) !== valid) {
        if (Date.now() > deadline)
          throw new UserError(
            `${server.pod} ${valid ? "does not take the new password" : "does not refuse the old password"} after ${arrivalSeconds} s; ` +
              "run the same command again.",
          );
        await sleep(2000);
      }
    }
  }
}

interface Server {
  readonly pod: string;
  readonly container: string;
}

/** Every server that the workload's clients sign in to. */
async function servers(cluster: Cluster, workload: string): Promise<Server[]> {
  const selector = `--selector=app.kubernetes.io/name=${workload}`;
  const path = "{range .items[*]}{.metadata.name} {.spec.containers[*].name}{'\\n'}{end}";
  const text = await kubectl(cluster, [
    "get",
    "pods",
    "--namespace=data",
    selector,
    `--output=jsonpath=${path}`,
  ]);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(" "))
    .flatMap(([pod = "", ...containers]) =>
      containers.filter((container) => container !== "exporter").map((container) => ({ pod, container })),
    );
}

const ca = "/run/secrets/groundwork/ca.crt";
const signIn: Readonly<Record<string, (user: string) => string>> = {
  patroni: (user) =>
    `PGPASSWORD=$password psql -XAtqc 'select 1' "host=localhost dbname=app user=${user} sslmode=verify-full sslrootcert=${ca}"`,
  redis: (user) => `REDISCLI_AUTH=$password redis-cli --tls --cacert ${ca} --user ${user} ping`,
  sentinel: (user) => `REDISCLI_AUTH=$password redis-cli -p 26379 --tls --cacert ${ca} --user ${user} ping`,
};

/**
 * Whether a server took the password, by what its client said; undefined where it said neither, as a server does that is starting or
 * has no connection left.
 */
export function verdict(said: string): boolean | undefined {
  if (/^(1|PONG)$/m.test(said)) return true;
  return /password authentication failed|not permitted to log in|WRONGPASS/.test(said) ? false : undefined;
}

/** Asked in the server's own pod; the password goes there by standard input. */
async function signsIn(
  cluster: Cluster,
  server: Server,
  user: string,
  password: string,
): Promise<boolean | undefined> {
  const { pod, container } = server;
  const script = `read -r password; ${signIn[container]?.(user) ?? "false"} 2>&1 || true`;
  const args = [
    "exec",
    "--stdin",
    "--namespace=data",
    pod,
    `--container=${container}`,
    "--",
    "/bin/sh",
    "-c",
    script,
  ];
  const connection = ["--kubeconfig", cluster.kubeconfig, "--context", cluster.context];
  const answer = await run(await kubectlProgram(), [...connection, ...args], { input: `${password}\n` });
  return verdict(answer);
}
