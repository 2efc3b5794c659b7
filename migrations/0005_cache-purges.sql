CREATE TABLE `cache_purges` (
	`scope` text PRIMARY KEY NOT NULL,
	`revision` integer NOT NULL
);
