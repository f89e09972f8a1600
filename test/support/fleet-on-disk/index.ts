export { installRelease, linkVersion } from "./install.js";
export { type LayOutOptions, layOutFleet, readLayout } from "./lay-out.js";
export { type ClusterOnDisk, type HostOnDisk, hostOf, type Layout } from "./layout.js";
export * from "./services.js";
