/** What `make release` cannot do, by its image and the stack's configuration: said before anything else. */
import { hasDigest } from "../../components/images.ts";
import { stackSettings } from "../stackValues.ts";
import { UserError } from "../system.ts";

/**
 * @throws {UserError} when the image is none, or one by a tag, which may move, or the stack's edge gives no version some of the
 * users.
 */
export async function requireReleasable(stack: string, image: string): Promise<void> {
  if (!/^[\w.-]+(:\d+)?(\/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$/.test(image))
    throw new UserError(`IMAGE is "${image}" and may be an image such as registry.example.com/app@sha256:…`);
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
