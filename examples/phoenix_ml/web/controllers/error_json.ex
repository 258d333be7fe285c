defmodule PhoenixMlWeb.ErrorJSON do
  @moduledoc false
  # What Phoenix itself refuses: a body that is no JSON (400), a path that leads nowhere (404).

  def render("400.json", _assigns), do: %{error: "the body is not valid JSON"}

  def render(template, _assigns),
    do: %{error: Phoenix.Controller.status_message_from_template(template)}
end
