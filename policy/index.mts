// The policy pack: `pulumi preview --policy-pack policy` refuses a stack that breaks a rule of rules.ts. Every stack is
// held to what production demands, unless `--policy-pack-config policy/development.json` says that it is not production.
// Its name ends in `.mts` since the SDK's runner of packs would compile a `.ts` itself; Node runs this as it stands.
import { PolicyPack } from "@pulumi/policy";

import { exceptions, unexcused } from "./exceptions.ts";
import type { Resource } from "./resource.ts";
import { rules, type StackFacts } from "./rules.ts";

interface Analyzed {
  readonly type: string;
  readonly name: string;
  readonly props: unknown;
  readonly opts: { readonly protect: boolean };
}

function resourceOf({ type, name, props, opts }: Analyzed): Resource {
  return { type, name, props, protect: opts.protect };
}

/** The CLI hands packs no stack configuration, only their own: `make` says there what they need (`local/stack.ts`). */
const configSchema = {
  properties: {
    environment: { type: "string" as const, enum: ["production", "development"], default: "production" },
    podLogs: { type: "string" as const, default: "/var/log/pods" },
  },
};

function facts(args: { getConfig: () => object }): StackFacts {
  const { environment, podLogs } = args.getConfig() as { environment: string; podLogs: string };
  return { production: environment === "production", podLogs };
}

new PolicyPack("groundwork", {
  enforcementLevel: "mandatory",
  policies: rules.map(({ name, description, check, wholeStack }) => {
    const complaints = (resource: Resource, stack: StackFacts, all: readonly Resource[]): readonly string[] =>
      unexcused(exceptions, name, resource, stack, check(resource, stack, all)).map(
        (complaint) => `${resource.name}: ${complaint}`,
      );
    if (wholeStack) {
      return {
        name,
        description,
        configSchema,
        validateStack: (args, report) => {
          const all = args.resources.map(resourceOf);
          for (const complaint of all.flatMap((resource) => complaints(resource, facts(args), all))) {
            report(complaint);
          }
        },
      };
    }
    return {
      name,
      description,
      configSchema,
      validateResource: (args, report) => {
        for (const complaint of complaints(resourceOf(args), facts(args), [])) report(complaint);
      },
    };
  }),
});
