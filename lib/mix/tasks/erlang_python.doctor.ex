defmodule Mix.Tasks.ErlangPython.Doctor do
  @shortdoc "Checks what Python pools need, and says what to do"

  @moduledoc """
  Checks this machine and the pools of the configuration, and prints what to do for each failure.

      $ mix erlang_python.doctor

  It looks at the versions, the cache folder, the folder of the sockets and the length of their paths, the
  limit of open files, and for each configured pool at its interpreter or environment, the worker's
  packages, and a worker that is started and asked. It installs nothing; `mix erlang_python.setup` does.

  The exit status is 1 if something fails, else 0.
  """

  use Mix.Task

  alias ErlangPython.Env.Doctor

  @requirements ["app.config"]

  @impl true
  def run(arguments) do
    if arguments != [], do: Mix.raise("mix erlang_python.doctor takes no arguments")
    {:ok, _started} = Application.ensure_all_started(:erlang_python)
    findings = Doctor.findings()
    Enum.each(findings, &print/1)
    failed = Enum.count(findings, &(&1.status == :failed))

    if failed == 0 do
      Mix.shell().info("All is well.")
    else
      Mix.shell().error("#{failed} of #{length(findings)} checks failed.")
      exit({:shutdown, 1})
    end
  end

  defp print(%{status: :ok} = finding),
    do: Mix.shell().info([:green, "ok      ", :reset, "#{finding.what}: #{finding.said}"])

  defp print(%{status: :failed} = finding) do
    Mix.shell().error([:red, "failed  ", :reset, "#{finding.what}: #{indent(finding.said)}"])
    Mix.shell().error("        to do: #{indent(finding.todo)}")
  end

  defp indent(text), do: String.replace(text, "\n", "\n        ")
end
