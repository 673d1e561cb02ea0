import type { V1JobList, V1NamespaceList, V1SecretList } from "@kubernetes/client-node";
import { describe, expect, test } from "vitest";
import {
  get,
  kubectl,
  kubectlWith,
  nameOf,
  runJob,
  stackNamespaces,
  stackPods,
  workloadOf,
} from "./support.ts";

/** A pod that asks for nothing that the `restricted` standard forbids. */
const harmless = {
  name: "harmless",
  image: "example.test/none",
  securityContext: {
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  },
};

function withContext(context: object): object {
  return { ...harmless, securityContext: { ...harmless.securityContext, ...context } };
}

/** Asks the API server whether it would admit a pod with this container. */
function admitted(namespace: string, container: object): Promise<string> {
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "cluster-tests", namespace },
    spec: { containers: [container] },
  };
  return kubectlWith(JSON.stringify(pod), "create", "--dry-run=server", "--filename=-");
}

describe.each(stackNamespaces)("the namespace %s", (namespace) => {
  test("enforces the restricted standard", async () => {
    const { items } = (await get("namespaces")) as V1NamespaceList;
    const found = items.find(({ metadata }) => metadata?.name === namespace);
    expect(found?.metadata?.labels).toMatchObject({ "pod-security.kubernetes.io/enforce": "restricted" });
  });

  test("admits a harmless pod", async () => {
    await expect(admitted(namespace, harmless)).resolves.toContain("created");
  });

  test("refuses a privileged pod", async () => {
    const privileged = { privileged: true, allowPrivilegeEscalation: true };
    // An API server that allows no privileged pods at all does not even ask the standard.
    await expect(admitted(namespace, withContext(privileged))).rejects.toThrow(
      /violates PodSecurity "restricted|privileged: Forbidden/,
    );
  });

  test.each([{ runAsUser: 0 }, { allowPrivilegeEscalation: true }, { capabilities: {} }])(
    "refuses a pod with %o",
    async (context) => {
      await expect(admitted(namespace, withContext(context))).rejects.toThrow(
        /violates PodSecurity "restricted/,
      );
    },
  );
});

describe("every container of the stack", () => {
  test("runs as somebody other than root", async () => {
    const pods = await stackPods();
    expect(pods.map(workloadOf)).toEqual(
      expect.arrayContaining([
        "edge",
        "app",
        "postgres",
        "redis-queue",
        "redis-cache",
        "prometheus",
        "alertmanager",
      ]),
    );
    for (const pod of pods) {
      expect(pod.spec?.securityContext?.runAsNonRoot, nameOf(pod)).toBe(true);
      for (const { user } of pod.status?.containerStatuses ?? []) {
        // What the runtime says, where it says it.
        expect(user?.linux?.uid ?? 1, nameOf(pod)).toBeGreaterThan(0);
      }
    }
  });

  test("has a limit of memory and a request of both", async () => {
    for (const pod of await stackPods()) {
      for (const { name, resources } of [
        ...(pod.spec?.initContainers ?? []),
        ...(pod.spec?.containers ?? []),
      ]) {
        expect(resources, `${nameOf(pod)} ${name}`).toMatchObject({
          requests: { cpu: expect.any(String) as string, memory: expect.any(String) as string },
          limits: { memory: expect.any(String) as string },
        });
      }
    }
  });

  test("can write nowhere but to its volumes", async () => {
    for (const pod of await stackPods()) {
      for (const { name, securityContext } of pod.spec?.containers ?? []) {
        expect(securityContext?.readOnlyRootFilesystem, `${nameOf(pod)} ${name}`).toBe(true);
      }
    }
  });
});

test("no pods but Patroni's and Prometheus' have a token for the API server", async () => {
  const holders = (await stackPods()).filter(({ spec }) =>
    spec?.volumes?.some(({ projected }) =>
      projected?.sources?.some(({ serviceAccountToken }) => serviceAccountToken),
    ),
  );
  expect([...new Set(holders.map(workloadOf))].sort()).toEqual(["postgres", "prometheus"]);
});

test("no password stands in any object but the Secrets", async () => {
  const secrets = ((await get("secrets", "--all-namespaces")) as V1SecretList).items.filter(({ metadata }) =>
    stackNamespaces.includes(metadata?.namespace ?? ""),
  );
  const others = await kubectl(
    "get",
    "pods,configmaps,services,endpoints,deployments,statefulsets,cronjobs,jobs.batch",
    "--all-namespaces",
    "--output=json",
  );
  expect(others).toContain("DATABASE_PASSWORD_FILE");
  const certificates = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n?/g;
  const files = secrets.flatMap(({ metadata, data }) =>
    Object.entries(data ?? {}).flatMap(([file, value]) => {
      // Certificates are public: clients are given them to check a server by.
      const secret = Buffer.from(value, "base64").toString().replace(certificates, "");
      if (secret.trim() === "") return [];
      // Everything in the file that is long and random enough to be the secret part of it, base64 among it.
      const parts = secret.match(/[A-Za-z0-9+/]{20,}/g) ?? [];
      return [{ name: `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}/${file}`, parts }];
    }),
  );
  expect(files.length).toBeGreaterThan(10);
  expect(files.filter(({ parts }) => parts.length === 0)).toEqual([]);
  const leaked = files.filter(({ parts }) => parts.some((part) => others.includes(part)));
  expect(leaked.map(({ name }) => name)).toEqual([]);
});

test("the migration has run, and running it again changes nothing", async () => {
  const { items } = (await get("--namespace=app", "jobs.batch")) as V1JobList;
  const migrations = items.filter(
    ({ metadata }) => metadata?.labels?.["app.kubernetes.io/name"] === "app-migrate",
  );
  expect(migrations.map(({ status }) => status?.succeeded)).toEqual([1]);
  const again = await runJob("app", `job.batch/${migrations[0]?.metadata?.name ?? ""}`);
  expect(again).toMatchObject({ succeeded: true, result: { migrations: [], message: "nothing to migrate" } });
});
