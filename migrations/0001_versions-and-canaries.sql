CREATE TABLE `chain_activations` (
	`chain` text NOT NULL,
	`sequence` integer NOT NULL,
	`version` integer NOT NULL,
	`at` integer NOT NULL,
	`actor` text NOT NULL,
	`before` integer,
	PRIMARY KEY(`chain`, `sequence`)
);
--> statement-breakpoint
CREATE TABLE `chain_canaries` (
	`chain` text PRIMARY KEY NOT NULL,
	`version` integer NOT NULL,
	`stable` integer NOT NULL,
	`weight` real NOT NULL,
	`minimum_runs` integer NOT NULL,
	`error_rate_increase` real NOT NULL,
	`latency_increase` real,
	`started_at` integer NOT NULL,
	`started_by` text NOT NULL,
	`counted_from` integer NOT NULL,
	`slow_milliseconds` integer,
	`timed_from` integer,
	`rolled_back_at` integer,
	`reason` text,
	`judgement` text
);
--> statement-breakpoint
ALTER TABLE `chain_versions` ADD `published_by` text;--> statement-breakpoint
INSERT INTO `chain_activations` (`chain`, `sequence`, `version`, `at`, `actor`) SELECT `name`, 1, `version`, `updated_at`, 'admin' FROM `chains`;
