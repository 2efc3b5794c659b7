CREATE TABLE `api_key_uses` (
	`key` text PRIMARY KEY NOT NULL,
	`used_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `applications` (
	`id` text PRIMARY KEY NOT NULL,
	`uid` text,
	`name` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `applications_uid_unique` ON `applications` (`uid`);--> statement-breakpoint
CREATE TABLE `cache_purges` (
	`scope` text PRIMARY KEY NOT NULL,
	`revision` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `event_types` (
	`name` text PRIMARY KEY NOT NULL,
	`description` text NOT NULL,
	`schema` text,
	`archived_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `management_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`hash` text NOT NULL,
	`hint` text NOT NULL,
	`role` text NOT NULL,
	`expires_at` integer,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `management_tokens_hash_unique` ON `management_tokens` (`hash`);--> statement-breakpoint
CREATE TABLE `people` (
	`id` text PRIMARY KEY NOT NULL,
	`subject` text,
	`email` text,
	`role` text NOT NULL,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `people_subject_unique` ON `people` (`subject`);--> statement-breakpoint
CREATE UNIQUE INDEX `people_email_unique` ON `people` (`email`);--> statement-breakpoint
CREATE TABLE `route_paths` (
	`host` text NOT NULL,
	`method` text NOT NULL,
	`shape` text NOT NULL,
	`route` text NOT NULL,
	PRIMARY KEY(`host`, `method`, `shape`)
);
--> statement-breakpoint
CREATE TABLE `routes` (
	`name` text PRIMARY KEY NOT NULL,
	`document` text NOT NULL,
	`updated_at` integer NOT NULL,
	`updated_by` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `traffic` (
	`at` integer NOT NULL,
	`seconds` integer NOT NULL,
	`target` text NOT NULL,
	`version` text NOT NULL,
	`caller` text NOT NULL,
	`requests` integer NOT NULL,
	`statuses` text NOT NULL,
	`total_milliseconds` real NOT NULL,
	`buckets` text NOT NULL,
	PRIMARY KEY(`at`, `seconds`, `target`, `version`, `caller`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `upstreams` (
	`name` text PRIMARY KEY NOT NULL,
	`document` text NOT NULL,
	`updated_at` integer NOT NULL,
	`updated_by` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `webhook_endpoints` (
	`application` text NOT NULL,
	`id` text NOT NULL,
	`settings` text NOT NULL,
	`header_names` text NOT NULL,
	`sealed` text NOT NULL,
	`disabled` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`application`, `id`)
);
--> statement-breakpoint
ALTER TABLE `api_keys` ADD `owner` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `tenant` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `description` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `hint` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `limits` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `signing` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `previous_hash` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `previous_expires_at` integer;--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_previous_hash_unique` ON `api_keys` (`previous_hash`);--> statement-breakpoint
ALTER TABLE `sources` ADD `inbox` text;