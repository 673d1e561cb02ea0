/** The commands behind the Makefile. */
import { bootstrapOf, bootstrapScript } from "./bootstrapAzure.ts";
import { resumeChoices } from "./choices.ts";
import { currentCluster } from "./cluster.ts";
import { deliveryCommands } from "./delivery/commands.ts";
import { edgeUrl } from "./devSettings.ts";
import { drDrill } from "./drDrill.ts";
import { caPath } from "./identity.ts";
import { writeCertificates } from "./internalCertificates.ts";
import { migrateDown } from "./migrateDown.ts";
import { restore } from "./restore.ts";
import { rotate } from "./rotate.ts";
import { showStatus } from "./status.ts";
import { explained, say, UserError } from "./system.ts";
import { forward, showLogs } from "./observe.ts";
import { start, stop } from "./pause.ts";
import { scan } from "./scan/main.ts";
import { runTests } from "./tests.ts";
import { developmentToken } from "./token.ts";
import { clean, dev, down, exportState, knownEngine, preview, up } from "./up.ts";
import { requireStack, wrapperDirectory } from "./stack.ts";

/** Gives the exit status; nothing is success. */
type Command = (...args: string[]) => Promise<unknown>;

const print = (text: string): void => {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
};

const commands: Readonly<Record<string, Command>> = {
  up,
  down,
  dev: () => resumeChoices().then(dev),
  clean,
  stop,
  start,
  preview: (stack = "dev") => resumeChoices().then(() => preview(stack)),
  url: async () => {
    await currentCluster();
    print(await edgeUrl());
  },
  ca: async () => {
    await currentCluster();
    print(caPath());
  },
  kubeconfig: async () => {
    print((await currentCluster()).kubeconfig);
  },
  export: async () => {
    print(await exportState());
  },
  status: async () => {
    const { kubeconfig, context } = await currentCluster();
    return (await showStatus(kubeconfig, context)) ? 0 : 1;
  },
  logs: showLogs,
  open: forward,
  env: printEnvironment,
  token: printToken,
  // What follows imports the program's SDK only when it is asked for: it takes a second.
  render: async (stack = "dev", directory) => {
    await requireStack(stack);
    await (await import("./render.ts")).render(stack, directory);
  },
  certificates: (directory = "") => writeCertificates(directory),
  "check-config": async (stack = "dev") => {
    await requireStack(stack);
    return (await import("./check/main.ts")).checkConfiguration(stack);
  },
  "images-list": async (stack = "dev") => {
    await requireStack(stack);
    print(await (await import("./imagesList.ts")).imagesList(stack));
  },
  "bootstrap-azure": async (stack = "prod", github = "") => {
    print(bootstrapScript(await bootstrapOf(stack, github)));
  },
  restore: async (stack = "dev", from = "", confirm = "", toTime = "") => {
    await restore({ from, toTime, confirmed: confirm === "yes", stack });
  },
  "migrate-down": (stack = "dev", count = "", image = "", confirm = "") =>
    migrateDown({ stack, count, image, confirmed: confirm === "yes" }),
  rotate: (secret = "") => resumeChoices().then(() => rotate(secret)),
  "dr-drill": (rows = "", kib = "") => drDrill(rows, kib),
  test: () => runTests("test"),
  "test-engine": () => resumeChoices().then(() => runTests("engine")),
  // Only it needs the app's packages.
  bench: async (part = "") => (await import("./bench/main.ts")).runBench(part),
  "test-cluster": () => runTests("cluster"),
  chaos: () => runTests("chaos"),
  scan: (role = "") => scan(role),
  ...deliveryCommands,
};

async function printEnvironment(): Promise<void> {
  const cluster = await currentCluster();
  const engine = await knownEngine();
  for (const [name, value = ""] of Object.entries({
    ...engine.env,
    KUBECONFIG: cluster.kubeconfig,
    PULUMI_STACK: "dev",
  })) {
    if (name !== "PATH" && process.env[name] !== value) print(`export ${name}='${value}'`);
  }
  print(`export PATH='${wrapperDirectory()}':"$PATH"`);
}

async function printToken(role = "", tenant = ""): Promise<void> {
  if (!["admin", "editor", "viewer"].includes(role) || tenant === "") {
    throw new UserError(
      `ROLE is "${role}" and may be admin, editor or viewer; TENANT is "${tenant}" and may be any name: make token ROLE=editor TENANT=acme`,
    );
  }
  print(await developmentToken(role, tenant));
}

async function main(name = "", ...args: string[]): Promise<number> {
  const command = commands[name];
  if (command === undefined)
    throw new UserError(`"${name}" is no command. \`make help\` lists what there is.`);
  const status = await command(...args);
  return typeof status === "number" ? status : 0;
}

try {
  process.exitCode = await main(...process.argv.slice(2));
} catch (error) {
  say(explained(error));
  process.exit(1);
}
