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
CREATE TABLE `upstreams` (
	`name` text PRIMARY KEY NOT NULL,
	`document` text NOT NULL,
	`updated_at` integer NOT NULL,
	`updated_by` text NOT NULL
);
