defmodule Mix.Tasks.ErlangPython.Doctor do
  @shortdoc "Checks what Python pools need, and says what to do"

  @moduledoc """
  Checks this machine and the pools of the configuration, and prints what to do for each failure.

      $ mix erlang_python.doctor

  It looks at the versions, the cache folder, the folder of the sockets and the length of their paths, the
  limit of open files, and for each configured pool at its interpreter or environment, the worker's
  packages, and a worker that is started with the pool's options and asked. It installs nothing;
  `mix erlang_python.setup` does. Pools that are not in the configuration, but in a supervision tree, are not seen. The
  environments that a release of the project names for them (`ErlangPython.Release`) are.

  Everything is printed to stdout. The exit status is 1 if something fails, else 0. [Environments](environments.md#ahead-of-time)
  shows what it prints.
  """

  use Mix.Task

  alias ErlangPython.Env.{Ahead, Doctor}

  @requirements ["app.config"]

  @impl true
  def run(arguments) do
    if arguments != [], do: Mix.raise("mix erlang_python.doctor takes no arguments")
    findings = Doctor.findings(Ahead.of_releases(Mix.Project.config()[:releases]))
    Enum.each(findings, &print/1)
    failed = Enum.count(findings, &(&1.status == :failed))

    # The whole report to one stream, so that its lines keep their order in a pipe.
    if failed == 0,
      do: Mix.shell().info("All is well."),
      else: Mix.shell().info([:red, "#{failed} of #{length(findings)} checks failed."])

    Mix.shell().info(Ahead.unseen())
    if failed > 0, do: exit({:shutdown, 1})
  end

  defp print(%{status: :ok} = finding),
    do: Mix.shell().info([:green, "ok      ", :reset, "#{finding.what}: #{finding.said}"])

  defp print(%{status: :failed} = finding) do
    Mix.shell().info([:red, "failed  ", :reset, "#{finding.what}: #{indent(finding.said)}"])
    Mix.shell().info("        to do: #{indent(finding.todo)}")
  end

  defp indent(text), do: String.replace(text, "\n", "\n        ")
end
