import Type from "typebox";
import type { RollbackAnswer, RunSummary, RunView } from "../../api/contract.js";
import type { CommandBuilder } from "../../execute/turn.js";
import { abort, pause, resume, retry, skip } from "../../run/commands.js";
import { recapOf } from "../../run/recap.js";
import { personOf } from "../access.js";
import { openRun, summaryOf } from "../run-reader.js";
import { CommandBody, DEFAULT_LIMIT, LimitQuery, Name, Reason } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const operator = { config: { access: "operator" } } as const;
const runParams = Type.Object({ run: Type.String({ minLength: 1, maxLength: 128 }) });
const FailureBody = Type.Object(
  { reason: Type.Optional(Reason), hosts: Type.Optional(Type.Array(Name, { maxItems: 100_000 })) },
  { additionalProperties: false },
);
const RollbackBody = Type.Object(
  {
    reason: Type.Optional(Reason),
    scope: Type.Union([Type.Literal("stage"), Type.Literal("hop"), Type.Literal("run")]),
    safetyBackup: Type.Optional(Type.Boolean()),
    planOnly: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
const EVENTS_PER_PAGE = 1_000;

export function runRoutes(server: Server, services: Services): void {
  const { controller, runs } = services;

  server.post(
    "/v1/runs",
    {
      ...operator,
      schema: {
        body: Type.Object({ plan: Name, check: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
      },
    },
    async (request): Promise<RunView> =>
      (await controller.start({ ...request.body, by: personOf(request).name })).look(({ view }) => view()),
  );

  server.get("/v1/runs", { ...viewer, schema: { querystring: LimitQuery } }, async (request): Promise<RunSummary[]> => {
    const rows = await runs.list(request.query.limit ?? DEFAULT_LIMIT);
    const statusOf = async (run: string) => controller.active(run)?.look(({ view }) => view().status);
    return Promise.all(rows.map(async (row) => summaryOf(row, (await statusOf(row.id)) ?? "ended")));
  });

  server.get(
    "/v1/runs/:run",
    { ...viewer, schema: { params: runParams } },
    async (request): Promise<RunView> => (await openRun(services, request.params.run)).look(({ view }) => view()),
  );

  server.get(
    "/v1/runs/:run/events",
    {
      ...viewer,
      schema: { params: runParams, querystring: Type.Object({ after: Type.Optional(Type.Integer({ minimum: 0 })) }) },
    },
    async (request) => {
      const { id } = await runs.get(request.params.run);
      return { events: await runs.read(id, request.query.after ?? 0, EVENTS_PER_PAGE) };
    },
  );

  server.get("/v1/runs/:run/recap", { ...viewer, schema: { params: runParams } }, async (request) =>
    (await openRun(services, request.params.run)).look(({ state }) => recapOf(state)),
  );

  server.get("/v1/runs/:run/why", { ...viewer, schema: { params: runParams } }, async (request) => ({
    waits: await (await openRun(services, request.params.run)).look(({ view }) => view().waits),
  }));

  const commands: Readonly<Record<string, (by: string, reason: string) => CommandBuilder>> = {
    pause: (by, reason) => (state, at) => pause(state, { by, reason }, at),
    resume: (by) => (state, at) => resume(state, { by }, at),
    abort: (by, reason) => (state, at) => abort(state, { by, reason }, at),
  };
  for (const [name, build] of Object.entries(commands)) {
    server.post(
      `/v1/runs/:run/${name}`,
      { ...operator, schema: { params: runParams, body: CommandBody } },
      async (request): Promise<RunView> => {
        const runner = controller.requireActive(await runs.get(request.params.run));
        await runner.command(build(personOf(request).name, request.body.reason ?? ""));
        return runner.look(({ view }) => view());
      },
    );
  }

  for (const [name, decide] of [["retry", retry] as const, ["skip", skip] as const]) {
    server.post(
      `/v1/runs/:run/${name}`,
      { ...operator, schema: { params: runParams, body: FailureBody } },
      async (request): Promise<RunView> => {
        const { reason = "", hosts = [] } = request.body;
        const by = personOf(request).name;
        const runner = controller.requireActive(await runs.get(request.params.run));
        await runner.command((state, at) => decide(state, { by, reason, hosts }, at));
        return runner.look(({ view }) => view());
      },
    );
  }

  server.post(
    "/v1/runs/:run/rollback",
    { ...operator, schema: { params: runParams, body: RollbackBody } },
    (request): Promise<RollbackAnswer> =>
      services.rollbacks.rollBack(request.params.run, { ...request.body, by: personOf(request).name }),
  );
}
