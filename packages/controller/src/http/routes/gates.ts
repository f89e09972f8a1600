import { BelayError, SignedStatement } from "@belay/shared";
import Type from "typebox";
import type { GateView } from "../../api/contract.js";
import { checkSigned } from "../../execute/signed-approval.js";
import { ROOT } from "../../people/caller.js";
import type { People } from "../../people/people.js";
import { approve, breakGlass, reject, type Standing } from "../../run/commands.js";
import { gateViewOf, gateViewsOf } from "../../run/view.js";
import { personOf } from "../access.js";
import { type OpenRun, openRun } from "../run-reader.js";
import { CommandBody } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const approver = { config: { access: "approver" } } as const;
const admin = { config: { access: "admin" } } as const;
const GateName = Type.String({ minLength: 1, maxLength: 256 });
const gateParams = Type.Object({ run: Type.String({ minLength: 1, maxLength: 128 }), gate: GateName });
const GatesQuery = Type.Object({
  run: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  all: Type.Optional(Type.Literal("1")),
});

const ApproveBody = Type.Object(
  { ...CommandBody.properties, signed: Type.Optional(SignedStatement) },
  { additionalProperties: false },
);

export function gateRoutes(server: Server, services: Services): void {
  const { controller, runs, people } = services;

  server.get("/v1/gates", { ...viewer, schema: { querystring: GatesQuery } }, async (request): Promise<GateView[]> => {
    const { run, all } = request.query;
    const names = run === undefined ? controller.activeRuns : [run];
    const gatesOf = async (name: string) => (await openRun(services, name)).look(({ state }) => gateViewsOf(state));
    const views = await Promise.all(names.map(gatesOf));
    return views.flat().filter((view) => all === "1" || view.status === "open");
  });

  server.get("/v1/gates/:run/:gate", { ...viewer, schema: { params: gateParams } }, async (request) =>
    gateOf(await openRun(services, request.params.run), request.params.gate),
  );

  const standing: Standing = (person, group) => people.mayApprove(person, group);

  for (const [name, decide] of [["approve", approve] as const, ["reject", reject] as const]) {
    server.post(
      `/v1/gates/:run/:gate/${name}`,
      { ...approver, schema: { params: gateParams, body: ApproveBody } },
      async (request): Promise<GateView> => {
        const { run, gate } = request.params;
        const { reason = "", signed } = request.body;
        const { name: by, groups, tokenBy } = personOf(request);
        if (name === "approve") checkRoot(by, people);
        const runner = controller.requireActive(await runs.get(run));
        const answering = { by, reason, groups, standing, ...(tokenBy === null ? {} : { tokenBy }) };
        const where = { plan: runner.plan, run: runner.run, gate, by };
        const approval =
          signed === undefined
            ? {}
            : { signed: checkSigned(signed, where, await services.approvers(), services.now()) };
        await runner.command((state, at) => decide(state, gate, { ...answering, ...approval }, at));
        return gateOf(runner, gate);
      },
    );
  }

  server.post(
    "/v1/gates/:run/:gate/break-glass",
    { ...admin, schema: { params: gateParams, body: CommandBody } },
    async (request): Promise<GateView> => {
      const { run, gate } = request.params;
      const { reason = "" } = request.body;
      const by = personOf(request).name;
      const runner = controller.requireActive(await runs.get(run));
      await runner.command((state, at) => breakGlass(state, gate, { by, reason }, at));
      services.log.warn({ run: runner.run, gate, by, reason }, "glass broken: a gate passes without its approvals");
      return gateOf(runner, gate);
    },
  );
}

/** Throws `root-refused`. */
function checkRoot(name: string, people: People): void {
  if (name !== ROOT || people.mayApprove(ROOT, null)) return;
  throw new BelayError("root-refused", "there are approvers, so root approves nothing", {
    hint: "`belay user list` shows who may. When none of them can be reached: --break-glass, which stays on record.",
  });
}

async function gateOf(run: Pick<OpenRun, "look">, gate: string): Promise<GateView> {
  const view = await run.look(({ state }) => gateViewOf(state, gate));
  if (view === null) {
    throw new BelayError("gate-unknown", `this run has no gate ${gate}`, { hint: "belay gate list --all" });
  }
  return view;
}
