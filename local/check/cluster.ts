/** What can be asked of the cluster before an `up`, and of the stack that runs on it. */
import { PassThrough } from "node:stream";
import {
  AuthorizationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  Exec,
  KubeConfig,
  V1SelfSubjectAccessReview,
  V1SelfSubjectAccessReviewSpec,
  VersionApi,
  WellKnownApi,
} from "@kubernetes/client-node";
import { askInApp } from "../askInApp.ts";
import { message } from "../system.ts";
import { failed, ok, skipped, within, type Finding } from "./findings.ts";

const seconds = 10;

/** The context of a kubeconfig, or why it cannot be used. */
export function findContext(path: string, context: string): KubeConfig | Finding {
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
  } catch (error) {
    return failed(
      "kubeconfig",
      `${path} cannot be read (${message(error)})`,
      "set KUBECONFIG, or az aks get-credentials",
    );
  }
  const names = config.getContexts().map(({ name }) => name);
  if (!names.includes(context)) {
    return failed(
      "kubeconfig",
      `no context "${context}" in ${path}`,
      `set groundwork:cluster.context (CONTEXT for azure.cluster: create) to one of: ${names.join(", ") || "(there is none)"}, or az aks get-credentials`,
    );
  }
  config.setCurrentContext(context);
  return config;
}

/** Whether the cluster answers, is the one that Azure knows, and lets one work on it. */
export async function checkCluster(config: KubeConfig, issuer?: string): Promise<Finding[]> {
  const context = config.getCurrentContext();
  const check = `cluster ${context}`;
  try {
    const { gitVersion } = await within(
      seconds,
      "the API server",
      config.makeApiClient(VersionApi).getCode(),
    );
    return [
      ok(check, `answers, Kubernetes ${gitVersion}`),
      ...(await rights(config)),
      ...(issuer === undefined ? [] : [await checkIssuer(config, issuer)]),
    ];
  } catch (error) {
    return [
      failed(
        check,
        `does not answer (${message(error).split("\n")[0] ?? ""})`,
        "start the cluster, or reach its network: a private API server answers inside it only",
      ),
    ];
  }
}

async function rights(config: KubeConfig): Promise<Finding[]> {
  const api = config.makeApiClient(AuthorizationV1Api);
  const wanted = [
    { verb: "create", resource: "namespaces" },
    { verb: "create", group: "apps", resource: "statefulsets", namespace: "data" },
    { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
  ];
  const answers = await Promise.all(
    wanted.map(async (resourceAttributes) => {
      const spec = Object.assign(new V1SelfSubjectAccessReviewSpec(), { resourceAttributes });
      const body = Object.assign(new V1SelfSubjectAccessReview(), { spec });
      const { status } = await api.createSelfSubjectAccessReview({ body });
      return status?.allowed === true ? [] : [`${resourceAttributes.verb} ${resourceAttributes.resource}`];
    }),
  );
  const missing = answers.flat();
  return [
    missing.length === 0
      ? ok("cluster rights", "all that an up needs")
      : failed(
          "cluster rights",
          `not allowed: ${missing.join(", ")}`,
          "have Azure Kubernetes Service RBAC Cluster Admin granted, or cluster-admin bound",
        ),
  ];
}

/** A context may lead anywhere: the cluster that vouches for the workloads must be the one that they run on. */
async function checkIssuer(config: KubeConfig, issuer: string): Promise<Finding> {
  const check = "OIDC issuer";
  // A text by its type; the client takes it apart all the same where the server says that it is JSON.
  const answer: unknown = await config
    .makeApiClient(WellKnownApi)
    .getServiceAccountIssuerOpenIDConfiguration();
  const document: unknown = typeof answer === "string" ? JSON.parse(answer) : answer;
  const { issuer: found } = document as { issuer: string };
  return found === issuer
    ? ok(check, found)
    : failed(
        check,
        `the cluster's is ${found}, groundwork:azure.existing.oidcIssuerUrl is ${issuer}`,
        "the context is another cluster's, or set oidcIssuerUrl to: az aks show --query oidcIssuerProfile.issuerUrl",
      );
}

/** Runs in the app's container: opens what the app opens, and reads a secret as the app does. */
const inApp = `${askInApp}
const read = require("node:fs").readFileSync(process.env.DATABASE_PASSWORD_FILE, "utf8").trim().length > 0;
ask("/ready").then(({ text }) => console.log(JSON.stringify({ secret: read, ready: JSON.parse(text) })));`;

interface Ready {
  readonly dependencies?: Readonly<Record<string, { readonly state: string; readonly latencyMs: number }>>;
}

/** Postgres, Redis and one secret, from inside the app's pod: the one place that must reach them. */
export async function checkConnections(config: KubeConfig): Promise<Finding[]> {
  const check = "connections";
  const { items } = await config.makeApiClient(CoreV1Api).listNamespacedPod({
    namespace: "app",
    labelSelector: "app.kubernetes.io/name=app",
    fieldSelector: "status.phase=Running",
  });
  const pod = items[0]?.metadata?.name;
  if (pod === undefined) return [skipped(check, "the app does not run here yet: nothing to connect from")];
  try {
    const text = await within(seconds, `pod ${pod}`, execute(config, pod, ["node", "-e", inApp]));
    const { secret, ready } = JSON.parse(text) as { secret: boolean; ready: Ready };
    return [
      secret
        ? ok("one secret", "the app reads database-password")
        : failed("one secret", "database-password is empty", "put it into the store, or run pulumi up"),
      ...dependencies(ready),
    ];
  } catch (error) {
    return [failed(check, message(error), `kubectl -n app describe pod ${pod}; kubectl -n app logs ${pod}`)];
  }
}

/** What `/ready` says of each dependency. */
export function dependencies({ dependencies: states = {} }: Ready): Finding[] {
  const wanted = Object.entries(states).filter(([name]) => /postgres|database|redis|queue|cache/i.test(name));
  if (wanted.length < 3) {
    const names = Object.keys(states).join(", ") || "nothing";
    return [failed("connections", `/ready names ${names}, not Postgres and both Redis`, "make logs APP=app")];
  }
  return wanted.map(([name, { state, latencyMs }]) =>
    state === "up"
      ? ok(`connection to ${name}`, `opened from the app's pod, ${latencyMs} ms`)
      : failed(`connection to ${name}`, `${state} for the app's pod`, "make status; make logs APP=app"),
  );
}

function execute(config: KubeConfig, pod: string, command: string[]): Promise<string> {
  const output = new PassThrough();
  const errors = new PassThrough();
  let text = "";
  let complaint = "";
  output.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  errors.setEncoding("utf8").on("data", (chunk: string) => (complaint += chunk));
  return new Promise((resolve, reject) => {
    new Exec(config)
      .exec("app", pod, "app", command, output, errors, null, false, ({ status }) => {
        if (status === "Success") resolve(text);
        else
          reject(
            new Error(complaint.trim().split("\n").slice(-3).join(" ") || "the command in the pod failed"),
          );
      })
      .catch(reject);
  });
}

/** The vault that the running app's secrets come from, and one that it mounts, so that it is there; undefined before the first `up`. */
export async function mountedVault(
  config: KubeConfig,
): Promise<{ readonly name: string; readonly secret: string } | undefined> {
  const found = (await config
    .makeApiClient(CustomObjectsApi)
    .getNamespacedCustomObject({
      group: "secrets-store.csi.x-k8s.io",
      version: "v1",
      namespace: "app",
      plural: "secretproviderclasses",
      name: "app-secrets",
    })
    .catch(() => undefined)) as
    | { spec?: { parameters?: { keyvaultName?: string; objects?: string } } }
    | undefined;
  const { keyvaultName: name, objects = "" } = found?.spec?.parameters ?? {};
  const secret = /objectName: (\S+)/.exec(objects)?.[1];
  return name === undefined || secret === undefined ? undefined : { name, secret };
}
