/**
 * The state that a release leaves behind, cut down to what must not be lost, and with no secret in it: `stateOf` makes it
 * from the program at hand, `importState` gives it to a stack. Run as a program it writes the file of this version.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { repository, type Engine } from "../../local/stack.ts";
import { offlineEngine } from "./offline.ts";
import { productions } from "./prodSettings.ts";
import { isStateful } from "./stateful.ts";
import { succeeded, TestProject, type StateResource } from "./support.ts";

interface StoredResource extends StateResource {
  readonly parent?: string;
  readonly provider?: string;
}

/** One production as a release left it. */
export interface ReleaseState {
  /** Configuration that it was made with. */
  readonly config: Record<string, unknown>;
  readonly resources: readonly StoredResource[];
}

const directory = join(import.meta.dirname, "releases");

/** The production `name` as the newest release that has left a file left it. */
export async function lastRelease(name: string): Promise<ReleaseState> {
  const byVersion = (left: string, right: string): number =>
    left.localeCompare(right, "en", { numeric: true });
  const versions = (await readdir(directory)).sort(byVersion);
  const text = await readFile(join(directory, versions.at(-1) ?? "", `${name}.json`), "utf8");
  return JSON.parse(text) as ReleaseState;
}

/** Makes the production from nothing and gives what it has become. */
async function stateOf(name: string, engine: Engine): Promise<ReleaseState> {
  const project = await TestProject.ofRepository("prod", productions[name] ?? {}, engine);
  try {
    await project.fillSecrets();
    succeeded(await project.up());
    const file = await readFile(join(project.directory, "Pulumi.prod.yaml"), "utf8");
    const { config } = parse(file) as { config: Record<string, object | string> };
    const open = Object.entries(config).filter(
      ([, value]) => typeof value === "string" || !("secure" in value),
    );
    const { text } = await project.run(["stack", "export", "--show-secrets"]);
    const { deployment } = JSON.parse(text) as { deployment: { resources: StoredResource[] } };
    return { config: Object.fromEntries(open), resources: withoutSecrets(essential(deployment.resources)) };
  } finally {
    await project.remove();
  }
}

/** What is stateful, and what that hangs on; nothing else. */
function essential(all: readonly StoredResource[]): StoredResource[] {
  const byUrn = new Map(all.map((resource) => [resource.urn, resource]));
  const kept = new Set<string>();
  const keep = (urn: string | undefined): void => {
    const found = urn === undefined ? undefined : byUrn.get(urn);
    if (!found || kept.has(found.urn)) return;
    kept.add(found.urn);
    keep(found.parent);
    keep(found.provider?.replace(/::[^:]+$/, ""));
  };
  for (const resource of all) if (isStateful(resource)) keep(resource.urn);
  return all.filter(({ urn }) => kept.has(urn)).map(shortened);
}

/** Where the kubernetes provider repeats an object's inputs in its state. */
const repeated = "__inputs";

/** Without dependencies, and of the outputs only what the inputs do not say. */
function shortened({
  urn,
  type,
  id,
  parent,
  provider,
  inputs,
  outputs,
  ...rest
}: StoredResource): StoredResource {
  const { custom, protect, retainOnDelete } = rest as Record<string, unknown>;
  const added = Object.entries(outputs ?? {}).filter(
    ([key, value]) => key !== repeated && JSON.stringify(value) !== JSON.stringify(inputs?.[key]),
  );
  const kept = { urn, type, custom, id, parent, provider, protect, retainOnDelete, inputs };
  return JSON.parse(JSON.stringify({ ...kept, outputs: Object.fromEntries(added) })) as StoredResource;
}

function complete(resource: StoredResource): StoredResource {
  const { inputs, outputs, type } = resource;
  const again = type.startsWith("kubernetes:") && { [repeated]: inputs };
  return { ...resource, outputs: { ...inputs, ...outputs, ...again } };
}

/** Each generated value gives way to its name, wherever it stands: nothing here was ever anybody's secret. */
function withoutSecrets(resources: readonly StoredResource[]): StoredResource[] {
  let text = JSON.stringify(resources);
  for (const { type, urn, outputs } of resources) {
    if (!type.startsWith("random:index/randomPassword:")) continue;
    for (const key of ["result", "bcryptHash"]) {
      const value = plaintext(outputs?.[key]);
      if (value) text = text.replaceAll(value, `${key}-of-${urn.split("::").at(-1) ?? ""}`);
    }
  }
  return JSON.parse(text) as StoredResource[];
}

function plaintext(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const { plaintext: inner } = (value ?? {}) as { plaintext?: string };
  const known: unknown = inner === undefined ? undefined : JSON.parse(inner);
  return typeof known === "string" ? known : undefined;
}

/** Has a new stack believe that the release had made it. */
export async function importState(project: TestProject, { resources }: ReleaseState): Promise<void> {
  const exported = JSON.parse((await project.run(["stack", "export"])).text) as {
    deployment: Record<string, unknown>;
  };
  exported.deployment["resources"] = resources.map(complete);
  const file = join(project.directory, "release.json");
  await writeFile(file, JSON.stringify(exported));
  succeeded(await project.run(["stack", "import", "--file", file]));
}

if (import.meta.url === `file://${process.argv[1] ?? ""}`) {
  const { version } = JSON.parse(await readFile(join(repository, "package.json"), "utf8")) as {
    version: string;
  };
  const { engine, home } = await offlineEngine();
  await mkdir(join(directory, version), { recursive: true });
  for (const name of Object.keys(productions)) {
    const state = await stateOf(name, engine);
    // A line each, so that two releases can be compared.
    const resources = state.resources.map((resource) => JSON.stringify(resource)).join(",\n");
    const text = `{"config":${JSON.stringify(state.config)},\n"resources":[\n${resources}\n]}\n`;
    await writeFile(join(directory, version, `${name}.json`), text);
  }
  await rm(home, { recursive: true });
}
