CREATE TABLE `__new_runs` (
	`chain` text NOT NULL,
	`created_at` integer NOT NULL,
	`id` text NOT NULL,
	`version` integer NOT NULL,
	`trigger` text NOT NULL,
	`trigger_type` text NOT NULL,
	`mode` text NOT NULL,
	`status` text NOT NULL,
	`ended_at` integer,
	`error` text,
	`record` text,
	PRIMARY KEY(`chain`, `created_at`, `id`)
) WITHOUT ROWID;
--> statement-breakpoint
INSERT INTO `__new_runs`("chain", "created_at", "id", "version", "trigger", "trigger_type", "mode", "status", "ended_at", "error", "record") SELECT "chain", "created_at", "id", "version", "trigger", "trigger_type", "mode", "status", "ended_at", "error", "record" FROM `runs`;--> statement-breakpoint
DROP TABLE `runs`;--> statement-breakpoint
ALTER TABLE `__new_runs` RENAME TO `runs`;--> statement-breakpoint
CREATE INDEX `runs_by_status` ON `runs` (`status`,`chain`,`created_at`,`id`) WHERE status <> 'succeeded';--> statement-breakpoint
CREATE INDEX `runs_inline` ON `runs` (`id`) WHERE mode = 'inline';