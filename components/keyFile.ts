import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

/** A file of keys as the app reads it, with one key of `length` random bytes; `protect` refuses to make another in its place. */
export function keyFile(name: string, length: number, protect: boolean): pulumi.Output<string> {
  const { base64 } = new random.RandomBytes(name, { length }, { protect });
  return pulumi.jsonStringify({ active: "1", keys: { "1": base64 } });
}
