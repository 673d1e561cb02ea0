import * as pulumi from "@pulumi/pulumi";

const podsOfJobs = ["spec", "jobTemplate", "spec", "template", "spec"];
const podsOfAllElse = ["spec", "template", "spec"];

type Fields = Readonly<Record<string, unknown>>;

/** Sets fields in every pod that a resource makes, whatever makes it; `fields` is told the resource's namespace. */
export function inEveryPod(
  fields: (namespace: pulumi.Input<string>) => Fields,
): pulumi.ResourceTransformation {
  return ({ type, props, opts }: pulumi.ResourceTransformationArgs) => {
    if (!/^kubernetes:(apps|batch)\//.test(type)) return undefined;
    const path = type.endsWith(":CronJob") ? podsOfJobs : podsOfAllElse;
    const { metadata } = props as { metadata: pulumi.Input<{ namespace: pulumi.Input<string> }> };
    const namespace = pulumi.output(metadata).apply((known) => known.namespace);
    return { props: within(props, path, fields(namespace)) as pulumi.Inputs, opts };
  };
}

function within(value: pulumi.Input<unknown>, path: readonly string[], fields: Fields): unknown {
  const [key, ...rest] = path;
  const set = (object: unknown): Record<string, unknown> => {
    const known = object as Record<string, unknown>;
    return key === undefined
      ? { ...known, ...fields }
      : { ...known, [key]: within(known[key], rest, fields) };
  };
  return pulumi.Output.isInstance(value) ? value.apply(set) : set(value);
}
