import { agentRoutes } from "./routes/agents.js";
import { auditRoutes } from "./routes/audit.js";
import { backupRoutes } from "./routes/backups.js";
import { copyRoutes } from "./routes/copies.js";
import { followRoutes } from "./routes/follow.js";
import { gateRoutes } from "./routes/gates.js";
import { hostRoutes } from "./routes/hosts.js";
import { authorityRoutes, identityRoutes } from "./routes/identity.js";
import { loginRoutes } from "./routes/login.js";
import { peopleRoutes } from "./routes/people.js";
import { planRoutes } from "./routes/plans.js";
import { releaseRoutes } from "./routes/releases.js";
import { runRoutes } from "./routes/runs.js";
import type { Server } from "./server.js";
import type { Services } from "./services.js";

/** Every route of the API, as api/contract.ts lists them. */
export function addRoutes(server: Server, services: Services): void {
  hostRoutes(server, services);
  planRoutes(server, services);
  runRoutes(server, services);
  gateRoutes(server, services);
  followRoutes(server, services);
  backupRoutes(server, services);
  copyRoutes(server, services);
  releaseRoutes(server, services);
  agentRoutes(server, services);
  auditRoutes(server, services);
  identityRoutes(server, services);
  authorityRoutes(server, services);
  peopleRoutes(server, services);
  loginRoutes(server, services);
}
