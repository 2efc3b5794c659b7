CREATE TABLE `connection_health` (
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`at` integer NOT NULL,
	`milliseconds` integer NOT NULL,
	`fault` text,
	`since` integer NOT NULL,
	PRIMARY KEY(`tenant`, `name`)
);
--> statement-breakpoint
CREATE TABLE `connection_uses` (
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`chain` text NOT NULL,
	`uses` integer NOT NULL,
	`used_at` integer NOT NULL,
	`run` text NOT NULL,
	PRIMARY KEY(`tenant`, `name`, `chain`)
);
--> statement-breakpoint
CREATE TABLE `connector_switches` (
	`connector` text PRIMARY KEY NOT NULL,
	`disabled` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `expiry_warnings` (
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`expires_at` integer NOT NULL,
	`days` integer NOT NULL,
	PRIMARY KEY(`tenant`, `name`)
);
--> statement-breakpoint
CREATE TABLE `vault_accesses` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`kind` text NOT NULL,
	`tenant` text NOT NULL,
	`connector` text NOT NULL,
	`name` text NOT NULL,
	`readable` integer NOT NULL,
	`reader` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `vault_rotation` (
	`id` integer PRIMARY KEY NOT NULL,
	`version` text NOT NULL,
	`total` integer NOT NULL,
	`started_at` integer NOT NULL,
	`started_by` text NOT NULL,
	`finished_at` integer,
	`cursor` text NOT NULL,
	`unreadable` text NOT NULL
);
--> statement-breakpoint
ALTER TABLE `connections` ADD `expires_at` integer;--> statement-breakpoint
ALTER TABLE `connections` ADD `disabled` text;--> statement-breakpoint
ALTER TABLE `connections` ADD `probe_minutes` integer;