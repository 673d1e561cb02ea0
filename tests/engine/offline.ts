/** The engine of this machine with nothing behind it: no cluster and no cloud can be reached by what it runs. */
import { mkdtemp, mkdir, readFile, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { layStandIn } from "../../local/engine.ts";
import { repository, type Engine } from "../../local/stack.ts";
import { testEngine } from "./support.ts";

const programs = {
  random: "random/main.ts",
  kubernetes: "kubernetes/offline.ts",
  docker: "echo/main.ts",
  "azure-native": "echo/main.ts",
};

/** An engine with a home of its own, in which every provider is a stand-in. Remove `home` afterwards. */
export async function offlineEngine(): Promise<{ engine: Engine; home: string }> {
  const engine = await testEngine();
  const home = await mkdtemp(join(tmpdir(), "groundwork-home-"));
  const plugins = join(home, "plugins");
  await mkdir(plugins);
  // The real language host lies beside the CLI; a stand-in lies here.
  const known = join(engine.env["PULUMI_HOME"] ?? "", "plugins");
  for (const entry of await readdir(known)) {
    const version = /^language-nodejs-v([^.]+\.[^.]+\.\d+)$/.exec(entry)?.[1];
    if (version === undefined) continue;
    const directory = join(plugins, entry);
    await layStandIn(directory, "pulumi-language-nodejs", "language-nodejs/main.ts", "nodejs", version);
  }
  for (const [name, program] of Object.entries(programs)) {
    const text = await readFile(join(repository, "node_modules", "@pulumi", name, "package.json"), "utf8");
    const { version } = JSON.parse(text) as { version: string };
    const directory = join(plugins, `resource-${name}-v${version}`);
    await layStandIn(directory, `pulumi-resource-${name}`, program, name, version);
  }
  const env = {
    ...engine.env,
    PULUMI_HOME: home,
    PULUMI_IGNORE_AMBIENT_PLUGINS: "true",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    KUBECONFIG: join(home, "no-kubeconfig"),
  };
  return { engine: { ...engine, env }, home };
}
