/** The script of `make bootstrap-azure`, run by bash with an `az` that only writes down what it is told, and a `gh` that knows one repository. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootstrapScript, resourceProviders } from "../../local/bootstrapAzure.ts";

const subscription = "11111111-1111-1111-1111-111111111111";
const settings = {
  stack: "prod",
  subscriptionId: subscription,
  tenantId: "22222222-2222-2222-2222-222222222222",
  location: "japaneast",
  prefix: "abcdefghijklmno",
  github: "acme/service",
};
const script = bootstrapScript(settings);

/** Answers with the name of what is asked for; knows every key, and no role that is not Azure's own. */
const standIn = `#!/usr/bin/env bash
printf '%s\\x1f' "$@" >> "$AZ_CALLS"; printf '\\x1e' >> "$AZ_CALLS"
[[ "$1 $2" == "identity show" ]] && echo "$6-$8"
[[ "$1 $2" == "storage account" && $3 == show ]] && echo /storage
[[ "$1 $2" == "keyvault show" && " $* " == *" id "* ]] && echo /vault
exit 0
`;

let directory: string;
let calls: string[][];
let said: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "groundwork-bootstrap-"));
  const log = join(directory, "calls");
  writeFileSync(join(directory, "az"), standIn, { mode: 0o755 });
  writeFileSync(join(directory, "gh"), "#!/bin/sh\necho repo:acme@1/service@2\n", { mode: 0o755 });
  const PATH = `${directory}${delimiter}${process.env["PATH"] ?? ""}`;
  const env = { ...process.env, PATH, AZ_CALLS: log };
  said = execFileSync("bash", { input: script, env, encoding: "utf8" });
  const records = readFileSync(log, "utf8").split("\x1e").slice(0, -1);
  calls = records.map((record) => record.split("\x1f").slice(0, -1));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** Value of an option. */
const option = (call: readonly string[], name: string): string => call[call.indexOf(name) + 1] ?? "";
const callsOf = (...command: string[]): string[][] =>
  calls.filter((call) => command.every((word, index) => call[index] === word));

describe("the bootstrap for Azure", () => {
  test("stores no secret anywhere", () => {
    expect(script).not.toMatch(/client-secret|--password|account-key|credential reset/);
    expect(script).toContain("--allow-shared-key-access false");
    expect(script).toContain("--enable-purge-protection true");
  });

  test("has the subscription know every kind of resource before it makes one", () => {
    const registers = calls.filter(([command, what]) => command === "provider" && what === "register");
    expect(registers.map((call) => option(call, "--namespace"))).toEqual(resourceProviders);
    const made = calls.findIndex((call) => call.includes("create"));
    expect(calls.findLastIndex(([command]) => command === "provider")).toBeLessThan(made);
    for (const call of registers) expect(call).toContain("--wait");
  });

  test("trusts the environments and nothing else, each by an identity of its own", () => {
    const trusted = callsOf("identity", "federated-credential", "create").map((call) => [
      option(call, "--identity-name"),
      option(call, "--subject"),
    ]);
    expect(trusted).toEqual(
      ["production", "production-read", "development"].map((environment) => [
        `${settings.prefix}-${environment}`,
        `repo:acme@1/service@2:environment:${environment}`,
      ]),
    );
  });

  test("gives each identity what its environment's jobs need, and no more", () => {
    const roles = new Map<string, string[]>();
    for (const call of callsOf("role", "assignment", "create")) {
      const who = option(call, "--assignee-object-id").replace(`${settings.prefix}-`, "");
      if (!call.includes("--assignee-object-id")) continue;
      const scope = option(call, "--scope").replace(`/subscriptions/${subscription}`, "subscription");
      roles.set(who, [...(roles.get(who) ?? []), `${option(call, "--role")} on ${scope}`]);
    }
    expect(Object.fromEntries(roles)).toEqual({
      "production-principalId": [
        "Contributor on subscription",
        "Role Based Access Control Administrator on subscription",
        "Azure Kubernetes Service RBAC Cluster Admin on subscription",
        "Key Vault Secrets Officer on subscription",
        "Key Vault Crypto User on /vault/keys/pulumi",
        "Storage Blob Data Contributor on /storage/blobServices/default/containers/state",
      ],
      "production-read-principalId": [
        "Reader on subscription",
        `${settings.prefix} production-read on subscription`,
        "Key Vault Crypto User on /vault/keys/pulumi",
        "Storage Blob Data Reader on /storage/blobServices/default/containers/state",
      ],
      "development-principalId": [
        "Key Vault Crypto User on /vault/keys/pulumi-development",
        "Storage Blob Data Contributor on /storage/blobServices/default/containers/state-development",
      ],
    });
  });

  test("defines a role that reads the cluster, and has no way to run anything in it", () => {
    const [definition = []] = callsOf("role", "definition", "create");
    const role = JSON.parse(option(definition, "--role-definition")) as Record<string, string[]>;
    expect(role["Actions"]?.filter((action) => !/\/list\w+\/action$/.test(action))).toEqual([]);
    expect(role["DataActions"]?.filter((action) => !action.endsWith("/read"))).toEqual([]);
    // A kubelet runs commands for whoever may get `nodes/proxy`, which to Azure is to read a node.
    expect(role["NotDataActions"]).toEqual(["Microsoft.ContainerService/managedClusters/nodes/read"]);
  });

  test("says what each environment needs on GitHub: its rules before its identity", () => {
    expect(said).toMatch(/production +deployment tags v\* only, required reviewers/);
    expect(said).toMatch(/production-read +deployment branch main only/);
    for (const environment of ["production", "production-read", "development"])
      expect(said).toMatch(
        new RegExp(`${environment} +AZURE_CLIENT_ID +${settings.prefix}-${environment}-clientId\\n`),
      );
  });

  test("keeps names within Azure's 24 characters, whatever the prefix", () => {
    const account = /^account=(\w+)\$suffix$/m.exec(script)?.[1] ?? "";
    const vault = /^vault=([\w-]+)-\$suffix$/m.exec(script)?.[1] ?? "";
    expect(account.length + 4).toBeLessThanOrEqual(24);
    expect(vault.length + 5).toBeLessThanOrEqual(24);
    expect(vault).not.toMatch(/-$/);
  });
});
