defmodule Mix.Tasks.ErlangPython.Setup do
  @shortdoc "Builds the Python environments of the configured pools and of the releases"

  @moduledoc """
  Builds ahead what the first use of each configured pool would build: its environment, if it has one
  to build (`ErlangPython.Env`), and the worker's packages for its interpreter.

      $ mix erlang_python.setup

  So it does for the environments that a release of the project names (`ErlangPython.Release`). Other pools in supervision
  trees are not seen.

  It prints a bar over the pools and the step that is being taken. What is there already is left as it
  is. Where one can't be built, the others are; the exit status is then 1.
  """

  use Mix.Task

  alias ErlangPython.Env.Ahead

  @requirements ["app.config"]
  @width 20

  @impl true
  def run(arguments) do
    if arguments != [], do: Mix.raise("mix erlang_python.setup takes no arguments")
    places = places()
    {:ok, _started} = Application.ensure_all_started(:erlang_python)
    total = length(places)

    results = for {place, done} <- Enum.with_index(places), do: prepare(place, done, total)

    case for {:error, text} <- results, do: text do
      [] -> Mix.shell().info("#{bar(total, total)} ready\n#{Ahead.unseen()}")
      texts -> Mix.raise(Enum.join(texts, "\n\n"))
    end
  end

  defp places do
    Ahead.places(Ahead.of_releases(Mix.Project.config()[:releases]))
  rescue
    error in ArgumentError -> Mix.raise(error.message)
  end

  defp prepare(place, done, total) do
    name = "#{Ahead.name(place)} (#{Ahead.users(place)})"
    step = fn text -> Mix.shell().info("#{bar(done, total)} #{text}") end
    step.(name)

    case Ahead.prepare(place, progress: step) do
      {:ok, python} -> step.("#{name}: #{python}")
      {:error, error} -> {:error, "#{name}: #{Exception.message(error)}"}
    end
  end

  # Lines instead of one line that moves: it reads well in the logs of a build, too.
  defp bar(done, total) do
    filled = div(@width * done, total)
    "[#{String.duplicate("#", filled)}#{String.duplicate(".", @width - filled)}] #{done}/#{total}"
  end
end
