import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

/** Says in the engine's own refusal what to read. */
const refusal = "production-is-not-destroyed-see-docs-azure-md-taking-it-down";

/**
 * Refuses a `destroy` of production before anything is deleted. Protection alone stops it at what is protected, when
 * everything that hangs on it is gone; so one protected resource hangs on everything, and goes first or not at all.
 * Call it before the first resource, and what it gives after the last. Mocks have no stack to watch: there it hangs on
 * nothing.
 */
export function destroyGuard(production: boolean): () => void {
  const made: pulumi.Resource[] = [];
  if (!production) return () => undefined;
  if (pulumi.runtime.getStackResource()) {
    pulumi.runtime.registerStackTransformation(({ resource }) => {
      made.push(resource);
      return undefined;
    });
  }
  return () => {
    const dependsOn = made.filter((resource) => pulumi.CustomResource.isInstance(resource));
    new random.RandomString(refusal, { length: 8 }, { protect: true, dependsOn });
  };
}
