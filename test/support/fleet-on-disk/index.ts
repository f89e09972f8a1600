export { installRelease } from "./install.js";
export { layOutFleet, readLayout } from "./lay-out.js";
export { type ClusterOnDisk, type HostOnDisk, hostOf, type Layout, type StateServer } from "./layout.js";
export * from "./services.js";
