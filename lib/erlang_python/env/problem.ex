defmodule ErlangPython.Env.Problem do
  @moduledoc false
  # The errors of kind :environment. Nothing was executed when one of them comes up.

  alias ErlangPython.Error

  @spec error(String.t(), Path.t() | nil, String.t()) :: {:error, Error.t()}
  def error(message, python, output \\ "") do
    details = %{python: python, output: String.split(output, "\n", trim: true)}
    {:error, %Error{kind: :environment, message: message, executed: :no, details: details}}
  end

  @spec unreadable(Path.t(), File.posix()) :: {:error, Error.t()}
  def unreadable(path, posix),
    do: error("cannot read #{Path.expand(path)}: #{:file.format_error(posix)}#{home(path)}", nil)

  defp home(path) do
    if Path.type(path) == :relative,
      do:
        ". Relative paths belong to the current folder, #{File.cwd!()}: what an application has in its priv is " <>
          "named by Application.app_dir(:my_app, #{inspect(path)})",
      else: ""
  end
end
