import { errorInfo } from "@belay/shared";
import Type from "typebox";
import type { LoggedEvent } from "../../api/contract.js";
import { logLine } from "../../run/log.js";
import { type OpenRun, openRun } from "../run-reader.js";
import { Name } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";
import { EventStream } from "../stream.js";

const viewer = { config: { access: "viewer" } } as const;
const runParams = Type.Object({ run: Type.String({ minLength: 1, maxLength: 128 }) });
const LogQuery = Type.Object({
  host: Type.Optional(Name),
  after: Type.Optional(Type.Integer({ minimum: 0 })),
  follow: Type.Optional(Type.Literal("1")),
});
const EVENTS_PER_PAGE = 1_000;
/** Faster than this nobody can read, and each view of a large run costs something to make. */
const VIEW_EVERY_MS = 250;

/** What can be followed while it happens: a run as a whole, and its log. */
export function followRoutes(server: Server, services: Services): void {
  server.get("/v1/runs/:run/stream", { ...viewer, schema: { params: runParams } }, async (request, reply) => {
    const run = await openRun(services, request.params.run);
    const stream = new EventStream(request, reply);
    await streamViews(stream, run, services).catch((error: unknown) => {
      stream.end();
      throw error;
    });
    return reply;
  });

  server.get(
    "/v1/runs/:run/log",
    { ...viewer, schema: { params: runParams, querystring: LogQuery } },
    async (request, reply) => {
      const { host, after = 0, follow } = request.query;
      const run = await openRun(services, request.params.run);
      const lineOf = ({ seq, event }: LoggedEvent) => {
        const line = logLine(seq, event, run.plan);
        return host === undefined || line.host === host ? [line] : [];
      };
      if (follow === undefined) {
        const lines = [];
        for await (const page of pages(services, run.id, after)) lines.push(...page.flatMap(lineOf));
        return lines;
      }
      const stream = new EventStream(request, reply);
      await streamLog(stream, run, services, after, (logged) => {
        for (const line of lineOf(logged)) stream.send("line", line, line.seq);
      });
      return reply;
    },
  );
}

/** The view now, then again whenever it changed, at most so often; the last one after the run's end. */
async function streamViews(stream: EventStream, run: OpenRun, services: Services): Promise<void> {
  // Until the view is made: everything that changes before, and be it that a write takes long, is in that one.
  let timer: NodeJS.Timeout | null = null;
  const send = () =>
    run.look(({ view }) => {
      timer = null;
      const seen = view();
      stream.send("view", seen);
      if (seen.status === "ended") stream.end();
    });
  const flush = () => {
    send().catch((error: unknown) => {
      // Looked at again with the next change.
      timer = null;
      services.log.warn({ run: run.id, error: errorInfo(error) }, "there is no view of this run now");
    });
  };
  const unwatch = run.runner?.watch({
    events: () => {},
    changed: () => {
      timer ??= setTimeout(flush, VIEW_EVERY_MS);
    },
  });
  stream.onEnd(() => {
    unwatch?.();
    if (timer !== null) clearTimeout(timer);
  });
  await send();
  if (run.runner === null) stream.end();
}

/**
 * The log from `after` on: first what is on disk, then what comes. Events that come while the disk is read are held back,
 * so that none is missed and none comes twice.
 */
async function streamLog(
  stream: EventStream,
  run: OpenRun,
  services: Services,
  after: number,
  send: (logged: LoggedEvent) => void,
): Promise<void> {
  let last = after;
  let held: LoggedEvent[] | null = [];
  const take = (events: readonly LoggedEvent[]) => {
    for (const logged of events) {
      if (logged.seq <= last) continue;
      last = logged.seq;
      send(logged);
      if (logged.event.type === "run-ended") stream.end();
    }
  };
  if (run.runner !== null) {
    const unwatch = run.runner.watch({
      events: (events) => {
        if (held === null) take(events);
        else held.push(...events);
      },
      changed: () => {},
    });
    stream.onEnd(unwatch);
  }
  try {
    for await (const page of pages(services, run.id, after)) {
      if (!stream.open) return;
      take(page);
    }
  } catch (error) {
    stream.end();
    throw error;
  }
  const missed = held;
  held = null;
  take(missed);
  if (run.runner === null) stream.end();
}

async function* pages({ runs }: Services, run: string, after: number): AsyncGenerator<LoggedEvent[]> {
  for (let last = after; ; ) {
    const page = await runs.read(run, last, EVENTS_PER_PAGE);
    const newest = page.at(-1);
    if (newest === undefined) return;
    yield page;
    last = newest.seq;
  }
}
