# What a team's own repository says of an organization on Backstay.
terraform {
  required_providers {
    cloudfoundry = { source = "local.test/cloudfoundry/cloudfoundry" }
  }
}

variable "api" {}
variable "password" {}
variable "organization" {}
variable "given_name" {}
variable "work_mem" {}

provider "cloudfoundry" {
  api_url  = var.api
  user     = "admin"
  password = var.password
}

resource "cloudfoundry_org" "team" {
  name = var.organization
}

resource "cloudfoundry_space" "dev" {
  name = "dev"
  org  = cloudfoundry_org.team.id
}

resource "cloudfoundry_user" "ada" {
  username    = "ada@example.org"
  email       = "ada@example.org"
  password    = "correct-horse-42"
  given_name  = var.given_name
  family_name = "Lovelace"
}

resource "cloudfoundry_org_role" "ada" {
  username = cloudfoundry_user.ada.username
  type     = "organization_user"
  org      = cloudfoundry_org.team.id
}

resource "cloudfoundry_space_role" "ada" {
  username   = cloudfoundry_user.ada.username
  type       = "space_developer"
  space      = cloudfoundry_space.dev.id
  depends_on = [cloudfoundry_org_role.ada]
}

data "cloudfoundry_service_plans" "free" {
  name                  = "Free"
  service_offering_name = "postgres"
}

resource "cloudfoundry_service_instance" "db" {
  name         = "db"
  type         = "managed"
  space        = cloudfoundry_space.dev.id
  service_plan = data.cloudfoundry_service_plans.free.service_plans[0].id
  tags         = ["terraform"]
  parameters   = jsonencode({ settings = { work_mem = var.work_mem } })
}

resource "cloudfoundry_service_credential_binding" "key" {
  type             = "key"
  name             = "key"
  service_instance = cloudfoundry_service_instance.db.id
}
