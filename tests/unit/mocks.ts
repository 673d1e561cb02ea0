import * as pulumi from "@pulumi/pulumi";

/** A resource as the engine would have received it. */
export interface Registered {
  /** Type token, such as `kubernetes:apps/v1:Deployment`. */
  readonly type: string;
  /** Pulumi name. */
  readonly name: string;
  /** Resolved inputs; secrets in plain text, as mocks have no engine to hide them. */
  readonly inputs: Record<string, unknown>;
}

/**
 * Runs a program against mocks and returns every custom resource it registered, in order. A resource that is `late` is
 * answered, and noted, when nothing else comes any more: what follows it in the list has waited for it.
 */
export async function register(
  program: () => unknown,
  late: (type: string, name: string) => boolean = () => false,
): Promise<Registered[]> {
  const registered: Registered[] = [];
  await pulumi.runtime.setMocks(
    {
      call: ({ token, inputs }) =>
        token.endsWith(":listManagedClusterUserCredentials")
          ? { kubeconfigs: [{ name: "user", value: Buffer.from("kind: Config").toString("base64") }] }
          : token.endsWith(":listDatabaseKeys")
            ? { primaryKey: "primary-key", secondaryKey: "secondary-key" }
            : (inputs as Record<string, unknown>),
      newResource: async ({ type, name, inputs, custom }) => {
        if (late(type, name)) await quiet(registered);
        if (custom) registered.push({ type, name, inputs: unwrapped(inputs) as Record<string, unknown> });
        return { id: `${name}-id`, state: { ...(inputs as object), ...generated(type, name) } };
      },
    },
    "groundwork",
    "test",
  );
  // The SDK takes a stack for each of its promises, and the test runner maps every frame of it: a third of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 1;
  try {
    await program();
    await pulumi.runtime.disconnect();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return registered;
}

async function quiet(registered: readonly Registered[]): Promise<void> {
  let before = -1;
  for (let turns = 0; turns < 1000; turns += 1) {
    if (registered.length !== before) turns = 0;
    before = registered.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Inputs without the envelopes that mark secrets on the wire. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== "object" || value === null) return value;
  const { [pulumi.runtime.specialSigKey]: signature, ...rest } = value as Record<string, unknown>;
  if (signature === pulumi.runtime.specialSecretSig) return unwrapped(rest["value"]);
  return Object.fromEntries(Object.entries(rest).map(([key, entry]) => [key, unwrapped(entry)]));
}

/** What the provider would have made up. */
function generated(type: string, name: string): Record<string, unknown> {
  if (type.startsWith("random:")) return { result: `generated-${name}` };
  if (type.startsWith("docker:")) return { repoDigest: `digest-of-${name}` };
  if (type.startsWith("azure-native:")) {
    return {
      name,
      clientId: `client-of-${name}`,
      principalId: `principal-of-${name}`,
      oidcIssuerProfile: { issuerURL: "https://issuer.example.com/" },
      nodeResourceGroup: `nodes-of-${name}`,
      identityProfile: { kubeletidentity: { objectId: "principal-of-kubelet" } },
    };
  }
  return {};
}

/** Notes how long an `up` may wait for the resources of one type, which is in their options: for the transformations of a parent. */
export function timeoutsOf(kind: string): {
  readonly timeouts: readonly unknown[];
  readonly transformations: pulumi.ResourceTransformation[];
} {
  const timeouts: unknown[] = [];
  const note: pulumi.ResourceTransformation = ({ type, opts }) => {
    if (type.endsWith(kind)) timeouts.push((opts as pulumi.CustomResourceOptions).customTimeouts);
    return undefined;
  };
  return { timeouts, transformations: [note] };
}

/** The resources of one type. */
export function ofType(resources: readonly Registered[], type: string): Registered[] {
  return resources.filter((resource) => resource.type.endsWith(type));
}

/** The value at a path such as `spec.template.spec.containers.0.image`; undefined where there is none. */
export function at(resource: Registered | undefined, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, key) =>
        typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined,
      resource?.inputs,
    );
}

/** @throws {Error} saying where the object is none that the published schema of its kind allows. */
export function conform(Kind: new (object?: never) => object, object: unknown): void {
  (new Kind(object as never) as { validate(): void }).validate();
}
