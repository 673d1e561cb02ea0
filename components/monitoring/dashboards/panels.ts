import {
  DashboardBuilder,
  FieldColorBuilder,
  FieldColorModeId,
  type Panel,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

import { checkPromql } from "../promql.ts";

/** Grafana's names of units. */
export type Unit = "short" | "reqps" | "ops" | "s" | "percentunit" | "bytes" | "Bps" | "cps";

/** What one panel shows. */
interface Shown {
  readonly title: string;
  readonly unit: Unit;
  /** Legend → query. A legend may name labels, as in `{{pod}}`. */
  readonly queries: Readonly<Record<string, string>>;
  /** What a reader should know beside the title. */
  readonly about?: string;
  /** Why a healthy stack may have nothing to show; without it, no data means that something is broken. */
  readonly emptyWhen?: string;
}

export interface Dashboard {
  /** Name of its file and of its address in Grafana. */
  readonly name: string;
  readonly title: string;
  readonly panels: readonly PanelOf[];
}

type PanelOf = Shown & { readonly kind: "stat" | "graph" };

/** The uid of datasources.yaml. */
const source = { type: "prometheus", uid: "prometheus" };
/** Grafana's grid is 24 columns wide. */
const sizes = { stat: { width: 6, height: 4 }, graph: { width: 12, height: 8 } } as const;

/** The latest figure, in large letters. */
export function stat(shown: Shown): PanelOf {
  return { ...shown, kind: "stat" };
}

/** Figures over time. */
export function graph(shown: Shown): PanelOf {
  return { ...shown, kind: "graph" };
}

/** What tells a panel that may be empty from one that must not; the reason follows. */
export const mayBeEmpty = "May be empty: ";

/**
 * The dashboard as Grafana reads it from a file.
 * @throws {Error} naming dashboard and panel, when a query is none.
 */
export function render({ name, title, panels }: Dashboard, asked: (query: string) => string): string {
  // The schema after this one is for Grafana 13; ours has to be read by 11, too.
  // oxlint-disable-next-line typescript/no-deprecated
  const builder = new DashboardBuilder(title)
    .uid(`groundwork-${name}`)
    .tags(["groundwork"])
    .time({ from: "now-3h", to: "now" })
    .refresh("30s")
    .readonly();
  for (const panel of panels) builder.withPanel({ build: () => panelOf(name, panel, asked) });
  return `${JSON.stringify(builder.build(), null, 1)}\n`;
}

function panelOf(
  dashboard: string,
  { kind, title, unit, queries, about, emptyWhen }: PanelOf,
  asked: (query: string) => string,
): Panel {
  const { width, height } = sizes[kind];
  const builder = kind === "stat" ? new StatBuilder() : new TimeseriesBuilder();
  const color = kind === "stat" ? FieldColorModeId.Thresholds : FieldColorModeId.PaletteClassic;
  const reason = emptyWhen === undefined ? [] : [`${mayBeEmpty}${emptyWhen}.`];
  builder
    .title(title)
    .description([...(about === undefined ? [] : [`${about}.`]), ...reason].join(" "))
    .unit(unit)
    .datasource(source)
    .span(width)
    .height(height)
    .colorScheme(new FieldColorBuilder().mode(color))
    .targets(
      Object.entries(queries).map(([legend, expr], index) => {
        checkPromql(`dashboard ${dashboard}, panel "${title}"`, expr);
        const query = new DataqueryBuilder()
          .refId(String.fromCharCode(65 + index))
          .datasource(source)
          .expr(asked(expr))
          .legendFormat(legend);
        return kind === "stat" ? query.instant() : query.range();
      }),
    );
  return builder.build();
}
