/** Whether a host name of the edge leads anywhere. */
import { lookup } from "node:dns/promises";
import { failed, ok, skipped, type Finding } from "./findings.ts";

/** @param zone DNS zone in which the stack makes the record itself; without one it is made by hand */
export async function checkHost(host: string, zone?: string): Promise<Finding> {
  const check = `host ${host}`;
  try {
    const { address } = await lookup(host);
    return ok(check, address);
  } catch {
    return zone === undefined
      ? failed(
          check,
          "its name does not resolve",
          "make an A record to the edge's address (azure.dnsZone makes it with azure.cluster: create), or mend groundwork:edge.hosts",
        )
      : skipped(
          check,
          `does not resolve yet: the first up makes its record; if that was long ago, ${zone} is not delegated to Azure`,
        );
  }
}
