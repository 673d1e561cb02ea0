/** The language model goes away, falls silent, and answers rubbish, while documents are written and questions asked. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { z } from "zod";
import { askNobody, askStandIn, inRubbish, silently, startStandIn } from "../cluster/standInModel.ts";
import { Client, inDatabase, postgresPrimary, tenants, token, waitFor } from "../cluster/support.ts";
import { answered, raised } from "./alerts.ts";
import { editorTokens, pauseMilliseconds } from "./jobs.ts";
import { duringWrites, type Outcome } from "./writes.ts";

const alert = "AiCircuitOpen";
/** Away, as nobody has started it yet; then there, and asked for these words. */
const failures = [
  { words: "", counted: "network" },
  { words: silently, counted: "timeout" },
  { words: inRubbish, counted: "rubbish" },
] as const;
const limits = { AI_TIMEOUT_SECONDS: "2" };
/** So many answers in a row come from every pod. */
const enough = 12;

/**
 * Each failure in turn: the alert must come, every question be answered by the stub, a job become a dead letter. Then the model
 * is well: it must answer the questions again, the alert go, and the job be done once it is sent again.
 */
export async function modelFails(): Promise<Outcome> {
  await askStandIn(limits);
  const questions = new Questions();
  const jobs = new Jobs();
  try {
    await raised(alert, false);
    const writes = await duringWrites(async () => {
      const asking = questions.run();
      try {
        for (const { words, counted } of failures) {
          questions.words = words;
          await raised(alert, true);
          const query = `sum(app_ai_requests_total{outcome="${counted}"}) > 0`;
          await answered(query, true, `attempts that ended by ${counted}`);
          await questions.degraded(true);
          await jobs.die(words);
          if (counted === "network")
            for (const workload of ["app", "worker"] as const) await startStandIn(workload);
          questions.words = "";
          await questions.degraded(false);
          await raised(alert, false);
        }
      } finally {
        questions.stop();
        await asking;
      }
    });
    await jobs.revive();
    const { acknowledged, failed } = writes;
    return { ...writes, acknowledged: acknowledged + questions.answered, failed: failed + questions.refused };
  } finally {
    await jobs.remove();
    await askNobody(limits);
  }
}

/** Users who ask without pause, and what became of their questions. */
class Questions {
  /** What every question has. */
  words = "";
  answered = 0;
  refused = 0;
  #last: boolean[] = [];
  #asking = true;

  async run(): Promise<void> {
    await Promise.all((await editorTokens()).map((editor) => this.#ask(editor)));
  }

  stop(): void {
    this.#asking = false;
  }

  /** Waits until all of the latest answers are the stub's, or none of them. */
  async degraded(expected: boolean): Promise<void> {
    this.#last = [];
    await waitFor(`answers by ${expected ? "the stub" : "the model"}`, 120, () => {
      expect(this.#last.slice(-enough)).toEqual(Array(enough).fill(expected));
    });
  }

  async #ask(editor: string): Promise<void> {
    const client = new Client();
    while (this.#asking) {
      const body = { message: `What is ${randomUUID()} ${this.words}?` };
      const answer = await client
        .send("POST", "/api/v2/chat", { token: editor, body })
        .catch(() => ({ status: 0, body: "" }));
      const [, degraded] = /event: done\ndata: .*"degraded":(true|false)/.exec(answer.body) ?? [];
      if (answer.status === 200 && degraded !== undefined) {
        this.answered += 1;
        this.#last.push(degraded === "true");
      } else this.refused += 1;
      await sleep(pauseMilliseconds);
    }
  }
}

const jobShape = z.object({ id: z.string(), state: z.string() });

/** Jobs that need the model: one while it is away, and one for each way of failing that is asked for by its words. */
class Jobs {
  readonly #client = new Client();
  readonly #ids: string[] = [];

  async die(words: string): Promise<void> {
    const body = { kind: "generate", prompt: `Say hello ${words}` };
    const { id } = await this.#send("POST", "/api/v2/jobs", "editor", body);
    this.#ids.push(id);
    await this.#become(id, "dead");
  }

  /** The first has no words that would have it fail again. */
  async revive(): Promise<void> {
    const [id = ""] = this.#ids;
    await this.#send("POST", `/api/v2/admin/dead-letters/${id}/redrive`, "admin");
    await this.#become(id, "done");
  }

  async remove(): Promise<void> {
    const ids = this.#ids.map((id) => `'${id}'`).join(", ");
    if (ids !== "") await inDatabase(await postgresPrimary(), `delete from jobs where id in (${ids})`, "app");
  }

  async #become(id: string, state: string): Promise<void> {
    await waitFor(`the job ${state}`, 60, async () => {
      expect((await this.#send("GET", `/api/v2/jobs/${id}`, "editor")).state).toBe(state);
    });
  }

  async #send(method: string, path: string, role: "admin" | "editor", body?: object) {
    const sent = { token: await token(role, tenants[0]), ...(body && { body }) };
    const answer = await this.#client.send(method, path, sent);
    return jobShape.parse(JSON.parse(answer.body));
  }
}
