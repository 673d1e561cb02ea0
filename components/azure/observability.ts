import { Budget } from "@pulumi/azure-native/consumption/budget.js";
import { DiagnosticSetting } from "@pulumi/azure-native/monitor/diagnosticSetting.js";
import { Workspace } from "@pulumi/azure-native/operationalinsights/workspace.js";
import * as pulumi from "@pulumi/pulumi";

import type { AzureScope } from "./scope.ts";

export interface AzureObservabilityArgs extends AzureScope {
  /** Days that logs are kept, 30 to 730. */
  readonly logRetentionDays: number;
}

export interface BudgetSettings {
  /** In the currency of the subscription. */
  readonly monthlyAmount: number;
  /** First day of the month that it starts in, YYYY-MM-01. */
  readonly from: string;
  readonly emails: readonly string[];
}

/** Shares of the budget at which a mail is sent, percent; the last by forecast. */
const thresholds = [50, 80, 100];

/** The Azure side of seeing: a workspace that resources log to, and a mail before the money is gone. */
export class AzureObservability extends pulumi.ComponentResource {
  readonly #workspaceId: pulumi.Output<string>;
  readonly #subscriptionId: string;

  constructor(name: string, args: AzureObservabilityArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:AzureObservability", name, {}, opts);
    const { resourceGroupName, location } = args;
    const workspace = new Workspace(
      "logs",
      {
        resourceGroupName,
        location,
        sku: { name: "PerGB2018" },
        retentionInDays: args.logRetentionDays,
        features: { disableLocalAuth: true },
      },
      { parent: this },
    );
    this.#workspaceId = workspace.id;
    this.#subscriptionId = args.subscriptionId;
    this.registerOutputs();
  }

  /** Mails before what these resource groups cost in a month is more than the budget. */
  watchCost({ monthlyAmount, from, emails }: BudgetSettings, resourceGroups: pulumi.Input<string>[]): void {
    const notification = (threshold: number, thresholdType: "Actual" | "Forecasted") => ({
      enabled: true,
      operator: "GreaterThan",
      threshold,
      thresholdType,
      contactEmails: [...emails],
    });
    new Budget(
      "budget",
      {
        // That of one group would not see the other.
        scope: `/subscriptions/${this.#subscriptionId}`,
        filter: { dimensions: { name: "ResourceGroupName", operator: "In", values: resourceGroups } },
        amount: monthlyAmount,
        category: "Cost",
        timeGrain: "Monthly",
        timePeriod: { startDate: `${from.slice(0, 10)}T00:00:00Z` },
        notifications: {
          ...Object.fromEntries(thresholds.map((t) => [`actual-${t}`, notification(t, "Actual")])),
          "forecast-100": notification(100, "Forecasted"),
        },
      },
      { parent: this },
    );
  }

  /** Sends a resource's logs to the workspace: whole groups (`audit`, `allLogs`), or single categories. */
  log(
    name: string,
    resourceUri: pulumi.Input<string>,
    what: { readonly groups?: readonly string[]; readonly categories?: readonly string[] },
  ): void {
    new DiagnosticSetting(
      `${name}-logs`,
      {
        name: "groundwork",
        resourceUri,
        workspaceId: this.#workspaceId,
        logs: [
          ...(what.groups ?? []).map((categoryGroup) => ({ categoryGroup, enabled: true })),
          ...(what.categories ?? []).map((category) => ({ category, enabled: true })),
        ],
      },
      { parent: this },
    );
  }
}
