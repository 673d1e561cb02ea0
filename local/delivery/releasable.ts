/** What `make release` cannot do, by the stack's configuration: said before anything else. */
import { hasDigest } from "../../components/images.ts";
import { stackSettings } from "../stackValues.ts";
import { UserError } from "../system.ts";

/** @throws {UserError} when the stack's edge gives no version some of the users, or its image is one by a tag, which may move. */
export async function requireReleasable(stack: string, image: string): Promise<void> {
  const { config } = await stackSettings(stack, false);
  const { mode } = JSON.parse(config["groundwork:edge"] ?? "{}") as { mode?: string };
  if (mode === "controller")
    throw new UserError(
      `groundwork:edge.mode of ${stack} is "controller", whose Ingresses send all users to one version: a release by steps needs ` +
        '"nginx". Name the image in groundwork:images.app and run `make deploy`: docs/edge.md',
    );
  if (config["groundwork:environment"] === "production" && !hasDigest(image))
    throw new UserError(
      `IMAGE is "${image}" and may be an image by digest only, such as registry.example.com/app@sha256:…: ` +
        `groundwork:environment of ${stack} is "production"`,
    );
}
