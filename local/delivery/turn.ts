/** Whose turn it is to move users: a ConfigMap in the cluster says so, so that runs on several machines know of each other. */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { interruptible } from "../interruptible.ts";
import { UserError } from "../system.ts";
import type { Target } from "./target.ts";

const name = "app-release-run";
const inApp = ["--namespace", "app"];
const manager = "--field-manager=groundwork-release";
/** By then the cluster has whatever was on its way from a run that was taken over. */
const arrivalSeconds = 2;

const looks = ["get", "exec"];

/** A rollback decides from here on where users are. */
export class TakenOver extends UserError {
  constructor() {
    super("`make rollback` took over from this run, which has ended and changed nothing since.");
  }
}

/**
 * Does what moves users while no other run does, from whichever machine.
 * @param what - the command, for whoever comes meanwhile.
 * @param work - gets a cluster that ends it when it is interrupted or taken over, and one that goes on when it is interrupted.
 * @param takeOver - whether another run loses its turn, and does not have to be alive.
 * @throws {UserError} naming the other run whose turn it is.
 */
export function inTurn<T>(
  target: Target,
  what: string,
  work: (watched: Target, own: Target, signal: AbortSignal) => Promise<T>,
  takeOver = false,
): Promise<T> {
  return interruptible(async (signal) => {
    const by = `${what} on ${hostname()}, process ${process.pid}, since ${new Date().toISOString()}`;
    const whose = (): Promise<string> =>
      target.kubectl([
        ...inApp,
        "get",
        "configmap",
        name,
        "--ignore-not-found",
        "--output=jsonpath={.data.by}",
      ]);
    const own: Target = {
      kubectl: async (args, input, aborted) => {
        // Not for what changes nothing, such as each figure, of which several are asked for at a time.
        if (!looks.includes(args[0] ?? "") && (await whose()) !== by) throw new TakenOver();
        return target.kubectl(args, input, aborted);
      },
    };
    const watched: Target = {
      kubectl: async (args, input) => {
        signal.throwIfAborted();
        return own.kubectl(args, input, signal).catch((error: unknown) => {
          signal.throwIfAborted();
          throw error;
        });
      },
    };
    const before = takeOver ? await whose() : "";
    const how = takeOver ? ["apply", "--server-side", "--force-conflicts"] : ["create"];
    const mine = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "app" }, data: { by } };
    try {
      await target.kubectl([...how, manager, "--filename=-"], JSON.stringify(mine));
    } catch (error) {
      const other = await whose();
      if (other === "") throw error;
      if (other !== by)
        throw new UserError(
          `Another run moves users: ${other}. Wait for it to end. If it was killed: ` +
            `kubectl --namespace app delete configmap ${name}`,
        );
    }
    try {
      if (before !== "") await sleep(arrivalSeconds * 1000);
      return await work(watched, own, signal);
    } finally {
      const done = async (): Promise<unknown> =>
        (await whose()) === by && target.kubectl([...inApp, "delete", "configmap", name]);
      // Where that fails, whoever comes next is told of this run.
      await done().catch(() => undefined);
    }
  });
}
