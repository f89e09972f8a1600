import Type from "typebox";
import type { RolloutPolicy } from "../../inventory/fleet.js";
import { personOf } from "../access.js";
import { AcceptRisks, DEFAULT_LIMIT, LimitQuery, Name, VersionText } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const operator = { config: { access: "operator" } } as const;

const Share = Type.Unsafe<`${number}%`>(Type.String({ pattern: "^(?:100|[1-9]?[0-9])%$" }));
const Amount = Type.Union([Type.Integer({ minimum: 1, maximum: 100_000 }), Share]);
const Rollout = Type.Object(
  {
    canary: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
    batch: Type.Optional(Type.Unsafe<RolloutPolicy["batch"]>(Type.Array(Amount, { minItems: 1, maxItems: 64 }))),
  },
  { additionalProperties: false },
);

const PlanBody = Type.Object(
  {
    to: VersionText,
    via: Type.Optional(Type.Array(VersionText, { maxItems: 64 })),
    acceptRisks: Type.Optional(AcceptRisks),
    quarantine: Type.Optional(Type.Array(Name, { maxItems: 100_000 })),
    clusters: Type.Optional(Type.Array(Name, { maxItems: 10_000 })),
    limit: Type.Optional(Type.Array(Name, { maxItems: 100_000 })),
    product: Type.Optional(Name),
    rollout: Type.Optional(Rollout),
  },
  { additionalProperties: false },
);

export function planRoutes(server: Server, { planning, plans }: Services): void {
  server.post("/v1/plans", { ...operator, schema: { body: PlanBody } }, (request) =>
    planning.plan({ ...request.body, by: personOf(request).name }),
  );

  server.get("/v1/plans", { ...viewer, schema: { querystring: LimitQuery } }, (request) =>
    plans.list(request.query.limit ?? DEFAULT_LIMIT),
  );

  server.get("/v1/plans/:plan", { ...viewer, schema: { params: Type.Object({ plan: Name }) } }, (request) =>
    plans.get(request.params.plan),
  );
}
