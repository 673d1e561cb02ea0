import { applicationOverview, business } from "./application.ts";
import { database, redisAndQueue } from "./data.ts";
import { render } from "./panels.ts";
import { edge, systemResources } from "./platform.ts";
import { backups, objectives } from "./promises.ts";

const dashboards = [
  applicationOverview,
  business,
  systemResources,
  database,
  redisAndQueue,
  edge,
  backups,
  objectives,
];

/**
 * Every dashboard, as the file that Grafana reads it from: name → JSON.
 * @param asked a query as it must be put to the Prometheus that is asked; default: as it stands
 */
export function dashboardFiles(
  asked: (expression: string) => string = (expression) => expression,
): Record<string, string> {
  return Object.fromEntries(
    dashboards.map((dashboard) => [`${dashboard.name}.json`, render(dashboard, asked)]),
  );
}
